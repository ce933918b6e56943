"""Operations that map numbers to quantiles of the normal distribution, and back."""

from collections.abc import Callable

import numpy as np

from function.engines.operations import Parameters
from function.engines.operations.shapes import between_quantiles, each_column, known_quantiles

Matrix = np.ndarray
# Cephes' ndtri (Stephen L. Moshier, https://netlib.org/cephes/), which SciPy computes too: numerators and denominators
# for the middle, for the tails, and for the far tails; a denominator's highest coefficient is 1.
MIDDLE = (
    (
        *(-5.99633501014107895267e1, 9.80010754185999661536e1, -5.66762857469070293439e1, 1.39312609387279679503e1),
        -1.23916583867381258016e0,
    ),
    (
        *(1.0, 1.95448858338141759834e0, 4.67627912898881538453e0, 8.63602421390890590575e1, -2.25462687854119370527e2),
        *(2.00260212380060660359e2, -8.20372256168333339912e1, 1.59056225126211695515e1, -1.18331621121330003142e0),
    ),
)
TAILS = (
    (
        *(4.05544892305962419923e0, 3.15251094599893866154e1, 5.71628192246421288162e1, 4.40805073893200834700e1),
        *(1.46849561928858024014e1, 2.18663306850790267539e0, -1.40256079171354495875e-1, -3.50424626827848203418e-2),
        -8.57456785154685413611e-4,
    ),
    (
        *(1.0, 1.57799883256466749731e1, 4.53907635128879210584e1, 4.13172038254672030440e1, 1.50425385692907503408e1),
        *(2.50464946208309415979e0, -1.42182922854787788574e-1, -3.80806407691578277194e-2, -9.33259480895457427372e-4),
    ),
)
FAR_TAILS = (
    (
        *(3.23774891776946035970e0, 6.91522889068984211695e0, 3.93881025292474443415e0, 1.33303460815807542389e0),
        *(2.01485389549179081538e-1, 1.23716634817820021358e-2, 3.01581553508235416007e-4, 2.65806974686737550832e-6),
        6.23974539184983293730e-9,
    ),
    (
        *(1.0, 6.02427039364742014255e0, 3.67983563856160859403e0, 1.37702099489081330271e0, 2.16236993594496635890e-1),
        *(1.34204006088543189037e-2, 3.28014464682127739104e-4, 2.89247864745380683936e-6, 6.79019408009981274425e-9),
    ),
)
# Cephes' erf, and erfc beyond 1.
NEAR_ZERO = (
    (
        *(9.60497373987051638749e0, 9.00260197203842689217e1, 2.23200534594684319226e3, 7.00332514112805075473e3),
        5.55923013010394962768e4,
    ),
    (
        *(1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3, 2.26290000613890934246e4),
        4.92673942608635921086e4,
    ),
)
BEYOND_ONE = (
    (
        *(2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687e0, 4.86371970985681366614e1),
        *(1.96520832956077098242e2, 5.26445194995477358631e2, 9.34528527171957607540e2, 1.02755188689515710272e3),
        5.57535335369399327526e2,
    ),
    (
        *(1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2, 9.75708501743205489753e2),
        *(1.82390916687909736289e3, 2.24633760818710981792e3, 1.65666309194161350182e3, 5.57535340817727675546e2),
    ),
)
ROOT_OF_TAU = 2.50662827463100050242
TAIL = 0.13533528323661269189  # exp(-2)
FAR = 8.0


def normal_rank(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the normal quantile of each number's place among its column's quantiles (columns x references).

    What is closer than `margin` to the first or last quantile stands at it, and results are kept from `low` to `high`.
    """
    quantiles, references = known_quantiles(parameters)
    margin, low, high = (parameters.number(name) for name in ("margin", "low", "high"))

    def one(column: Matrix, known: Matrix) -> Matrix:
        place = between_quantiles(column, known, references)
        place = np.where(column + margin > known[-1], 1.0, place)
        place = np.where(column - margin < known[0], 0.0, place)
        found: Matrix = np.clip(normal_quantile(place), low, high)
        return found

    return lambda matrix: each_column(one, matrix, quantiles)


def normal_unrank(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return which number has the place among its column's quantiles that each number has in the normal distribution.

    What is closer than `margin` to the first or last place is the first or last quantile.
    """
    quantiles, references = known_quantiles(parameters)
    margin = parameters.number("margin")

    def one(column: Matrix, known: Matrix) -> Matrix:
        place = normal_share(column)
        found = np.interp(place, references, known)
        found = np.where(place + margin > 1.0, known[-1], found)
        lowest: Matrix = np.where(place - margin < 0.0, known[0], found)
        return lowest

    return lambda matrix: each_column(one, matrix, quantiles)


def normal_share(numbers: Matrix) -> Matrix:
    """Return which share of the normal distribution lies below numbers (Cephes' ndtr, right to 1e-29)."""
    scaled = numbers * np.sqrt(0.5)
    with np.errstate(all="ignore"):
        square = scaled * scaled
        above, below = (polynomial(square, coefficients) for coefficients in NEAR_ZERO)
        near = 0.5 + 0.5 * (scaled * above / below)
        size = np.abs(scaled)
        # Further out Cephes has another quotient, for shares that are zero here.
        above, below = (polynomial(np.minimum(size, FAR), coefficients) for coefficients in BEYOND_ONE)
        tail = 0.5 * (np.exp(-square) * above / below)
    share: Matrix = np.where(size < 1.0, near, np.where(scaled > 0, 1.0 - tail, tail))
    return share


def normal_quantile(shares: Matrix) -> Matrix:
    """Return below which number a share of the normal distribution lies; NaN where there is none."""
    with np.errstate(all="ignore"):
        upper = shares > 1.0 - TAIL
        nearer = np.where(upper, 1.0 - shares, shares)
        tail = _tail(nearer)
        found = np.where(nearer > TAIL, _middle(nearer), np.where(upper, tail, -tail))
    found = np.where(shares == 0.0, -np.inf, np.where(shares == 1.0, np.inf, found))
    return np.where((shares >= 0.0) & (shares <= 1.0), found, np.nan)


def polynomial(numbers: Matrix, coefficients: tuple[float, ...]) -> Matrix:
    """Return a polynomial of numbers, the coefficient of the highest power first."""
    found = np.full(numbers.shape, coefficients[0])
    for coefficient in coefficients[1:]:
        found = found * numbers + coefficient
    return found


def _middle(shares: Matrix) -> Matrix:
    centered = shares - 0.5
    square = centered * centered
    above, below = (polynomial(square, coefficients) for coefficients in MIDDLE)
    found: Matrix = (centered + centered * (square * above / below)) * ROOT_OF_TAU
    return found


def _tail(shares: Matrix) -> Matrix:
    root = np.sqrt(-2.0 * np.log(shares))
    inverse = 1.0 / root
    near, far = (
        inverse * polynomial(inverse, above) / polynomial(inverse, below) for above, below in (TAILS, FAR_TAILS)
    )
    found: Matrix = root - np.log(root) / root - np.where(root < FAR, near, far)
    return found
