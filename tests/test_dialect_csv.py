"""CSV through the real framework: the same answers as the native format, and every fault at its line."""

import csv
import io
from collections.abc import Callable
from typing import Any

import httpx2
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from function.call import Incoming, Served, Totals
from function.dialects import csv as dialect
from lifecycle.frames import raw_instances
from lifecycle.signature import learn_features
from lifecycle.versions import Version
from tests.test_endpoint import GOOD, error, predict
from tests.toys import TOYS

CSV = {"content-type": "text/csv"}
HEADER = ",".join(GOOD)
LINE = "40,,Genève,true,paid"
MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

Table = dict[str, list[Any]]


def instances_of(name: str) -> list[dict[str, Any]]:
    """Return the rows that a toy was fitted on, as a caller sends them."""
    toy = TOYS[name]()
    return raw_instances(toy.features, learn_features(toy.features, {}))


def as_table(answer: dict[str, Any], targets: list[dict[str, Any]]) -> Table:
    """Return a native answer as the columns of a table, without the ids."""
    alone = len(targets) == 1
    predictions = [[value] if alone else value for value in answer["predictions"]]
    chances = answer.get("probabilities")
    table: Table = {}
    for index, target in enumerate(targets):
        table["prediction" if alone else f"prediction_{target['name']}"] = [row[index] for row in predictions]
    for index, target in enumerate(targets) if chances else ():
        rows = chances if alone else [row[index] for row in chances]
        start = "probability" if alone else f"probability_{target['name']}"
        table |= {f"{start}_{key}": [row[key] for row in rows] for key in rows[0]}
    return table


def native_table(client: TestClient, instances: list[dict[str, Any]]) -> Table:
    """Return what the native format answers, as the columns of a table without the ids."""
    return as_table(predict(client, {"instances": instances}), client.get("/model").json()["targets"])


def written(rows: list[list[Any]], **how: Any) -> str:
    """Return rows as Python's csv module writes them."""
    text = io.StringIO()
    csv.writer(text, **how).writerows(rows)
    return text.getvalue()


def as_csv(instances: list[dict[str, Any]]) -> str:
    """Return instances as CSV with a header."""
    return written([list(instances[0]), *(list(row.values()) for row in instances)])


def post(client: TestClient, body: str | bytes, media: str = "text/csv", **headers: str) -> httpx2.Response:
    """Return the answer to a body of CSV."""
    content = body if isinstance(body, bytes) else body.encode()
    return client.post("/predict", content=content, headers={"content-type": media, **headers})


def read(response: httpx2.Response) -> list[list[str]]:
    """Return the cells of an answer, its ids checked and taken off."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    rows = list(csv.reader(io.StringIO(response.text, newline=""), strict=True))
    request = response.headers["x-request-id"]
    assert [row[-1] for row in rows] == ["prediction_id", *(f"{request}-{index}" for index in range(len(rows) - 1))]
    return [row[:-1] for row in rows]


def cells(table: Table) -> list[list[str]]:
    """Return a table as the cells of its CSV."""

    def cell(value: Any) -> str:
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    return [list(table), *([cell(value) for value in row] for row in zip(*table.values(), strict=True))]


@pytest.mark.parametrize("name", TOYS)
def test_csv_gets_the_native_numbers(name: str, serving: Callable[..., TestClient]) -> None:
    """Whatever shape a model has, its answer in CSV is that in JSON, bit for bit."""
    client = serving(name)
    instances = instances_of(name)
    assert read(post(client, as_csv(instances))) == cells(native_table(client, instances))


FORMS: dict[str, str | bytes] = {
    "header": f"{HEADER}\n{LINE}\n",
    "no-header": f"{LINE}\n",
    "no-last-line-end": LINE,
    "other-order": "plan,member,city,income,age\npaid,true,Genève,,40\n",
    "crlf": f"{HEADER}\r\n{LINE}\r\n",
    "old-mac": f"{HEADER}\r{LINE}\r",
    "bom": b"\xef\xbb\xbf" + f"{HEADER}\n{LINE}".encode(),
    "bom-and-quotes": b"\xef\xbb\xbf" + '"age",income,city,member,plan\n40,"","Genève",TRUE,"paid"'.encode(),
    "all-quoted": written([list(GOOD), ["40", "", "Genève", "True", "paid"]], quoting=csv.QUOTE_ALL),
    "whole-float": "40.0,,Genève,true,paid",
    "power": "4e1,,Genève,true,paid",
    "nan": f"{HEADER}\n40,NaN,Genève,True,paid",
    "small-nan": "40,nan,Genève,TRUE,paid",
    "empty-lines": f"\n{HEADER}\n\n{LINE}\n\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_write_a_row_gets_the_same_answer(form: str, client: TestClient) -> None:
    """Header or none, any order, any line end, any quoting, any spelling of a value: one prediction."""
    assert read(post(client, FORMS[form])) == cells(native_table(client, [GOOD]))


def test_quoted_text_holds_anything(serving: Callable[..., TestClient]) -> None:
    """Commas, quotes and lines in a quoted cell are its text."""
    client = serving("text")
    texts = ['great, "tea"', "bad\ncoffee", "très\r\nbon\rthé", '"', ",", "", " stale ", "x" * 300_000]
    found = read(post(client, written([["review"], *([text] for text in texts)])))
    assert found == cells(native_table(client, [{"review": text} for text in texts]))


def test_empty_lines_are_passed_over(client: TestClient, serving: Callable[..., TestClient]) -> None:
    """Lines without anything are no rows, in a model of one feature either: an empty text is written in quotes."""
    texts = serving("text")
    found = read(post(texts, 'review\n\nstale\n""\n\n'))
    assert found == cells(native_table(texts, [{"review": "stale"}, {"review": ""}]))
    assert len(read(post(client, f"{HEADER}\n\n{LINE}\n\r\n{LINE}\n\n"))) == 3


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        (f",{HEADER}\n0,{LINE}\n", "to_csv(index=False)"),
        (HEADER.replace(",", ";") + "\n", "separated by commas"),
        (HEADER.replace(",", "\t") + "\n", "separated by commas"),
    ],
    ids=["index", "semicolons", "tabs"],
)
def test_usual_mistakes_are_told_with_what_to_do(body: str, advice: str, client: TestClient) -> None:
    """An index that pandas wrote, and other separators, are named."""
    assert advice in post(client, body).json()["error"]["message"]


def test_the_content_type_says_whether_there_is_a_header(serving: Callable[..., TestClient]) -> None:
    """A first line that reads as a header is values where `header=absent` is said."""
    client = serving("text")
    absent = read(post(client, "review\nstale", "text/csv; charset=UTF-8; header=absent"))
    assert absent == cells(native_table(client, [{"review": "review"}, {"review": "stale"}]))
    for media in ("text/csv", "text/csv;header=present", 'Text/CSV; Header="present"'):
        assert read(post(client, "review\nstale", media)) == cells(native_table(client, [{"review": "stale"}]))


def test_a_header_that_is_said_must_be_one(client: TestClient) -> None:
    """With `header=present` the first line is a header, whatever it holds."""
    found = error(post(client, LINE, "text/csv; header=present"), 400, "invalid_body")
    assert found["message"].startswith('The columns are not the model\'s features. Unknown: "40", "", "Genève" and 2')
    error(post(client, FORMS["header"], "text/csv; header=absent"), 422, "invalid_instances")
    message = error(post(client, LINE, "text/csv; header=perhaps"), 415, "unsupported_media_type")["message"]
    assert "`present` or `absent`" in message


HEADERS: dict[str, tuple[str, str]] = {
    "unknown": ("agee,income,city,member,plan", 'Unknown: "agee"; missing: "age".'),
    "one-more": ("id,age,income,city,member,plan", 'Unknown: "id".'),
    "one-less": ("age,income,city,member", 'Missing: "plan".'),
    "twice": ("age,age,city,member,plan", 'Missing: "income"; given more than once: "age".'),
    "space": ("age, income,city,member,plan", 'Unknown: " income"; missing: "income".'),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_wrong_header_is_told_by_its_names(case: str, client: TestClient) -> None:
    """A first line that names some feature is a header, and its faults are names."""
    header, expected = HEADERS[case]
    found = error(post(client, f"{header}\n{LINE}"), 400, "invalid_body")
    assert expected in found["message"]
    assert "header=absent" in found["message"]
    assert {detail["at"] for detail in found["details"]} == {"line 1"}


def test_a_header_without_end_gets_a_short_answer(client: TestClient) -> None:
    """However many and long the unknown names are, the answer is short."""
    names = ",".join(f"{index}{'x' * 500}" for index in range(1_000))
    response = post(client, f"age,{names}\n1")
    assert len(error(response, 400, "invalid_body")["details"]) == 50
    assert len(response.content) < 20_000


WRONG_CELLS: dict[str, tuple[str, str, str, str]] = {
    "underscore": ("1_000,,Bern,true,free", "age", "an integer", '"1_000"'),
    "space": (" 3,,Bern,true,free", "age", "an integer", '" 3"'),
    "hexadecimal": ("0x10,,Bern,true,free", "age", "an integer", '"0x10"'),
    "plus": ("+3,,Bern,true,free", "age", "an integer", '"+3"'),
    "leading-zero": ("007,,Bern,true,free", "age", "an integer", '"007"'),
    "other-digits": ("४२,,Bern,true,free", "age", "an integer", '"४२"'),
    "fraction": ("40.5,,Bern,true,free", "age", "an integer", "40.5"),
    "true-for-integer": ("true,,Bern,true,free", "age", "an integer", '"true"'),
    "null-for-integer": ("null,,Bern,true,free", "age", "an integer", '"null"'),
    "empty-for-integer": (",,Bern,true,free", "age", "an integer", "null"),
    "two-in-a-cell": ('"1,2",,Bern,true,free', "age", "an integer", '"1,2"'),
    "infinite": ("40,inf,Bern,true,free", "income", "a number", '"inf"'),
    "beyond-a-float": ("40,1e999,Bern,true,free", "income", "a number", '"1e999"'),
    "decimal-comma": ('40,"1,5",Bern,true,free', "income", "a number", '"1,5"'),
    "no-digits-after-point": ("40,1.,Bern,true,free", "income", "a number", '"1."'),
    "category": ("40,,bern,true,free", "city", 'one of "Bern"', '"bern"'),
    "empty-category": ("40,,,true,free", "city", 'one of "Bern"', '""'),
    "number-for-boolean": ("40,,Bern,1,free", "member", "true or false", '"1"'),
    "empty-boolean": ("40,,Bern,,free", "member", "true or false", "null"),
}


@pytest.mark.parametrize("case", WRONG_CELLS)
def test_a_wrong_cell_is_named_by_its_line(case: str, client: TestClient) -> None:
    """A fault says the line and the feature, what was expected, and the cell as it was sent."""
    line, name, expected, found = WRONG_CELLS[case]
    details = error(post(client, f"{HEADER}\n{LINE}\n{line}\n"), 422, "invalid_instances")["details"]
    assert [(detail["at"], detail["found"]) for detail in details] == [(f"line 3/{name}", found)]
    assert details[0]["expected"].startswith(expected)


def test_all_faults_are_found_at_once(client: TestClient) -> None:
    """Cells of several lines, and lines of too few or too many cells, are told together."""
    body = f"{HEADER}\n{LINE}\nx,y,Rom,true,free\n\n1,2\n{LINE},more\n{LINE}\n"
    found = error(post(client, body), 422, "invalid_instances")
    assert found["message"] == "3 of 5 instances are invalid."
    assert [detail["at"] for detail in found["details"]] == [
        *("line 3/age", "line 3/income", "line 3/city"),
        *("line 5", "line 6"),
    ]
    assert [detail["found"] for detail in found["details"][3:]] == ["a list of 2 values", "a list of 6 values"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_in_quotes_count(end: str, serving: Callable[..., TestClient]) -> None:
    """The line of a fault is the file's, where a row may take several."""
    client = serving("records")
    body = end.join(["city,age", f'"a{end}{end}b",1', "Bern,x", ""])
    at = [detail["at"] for detail in error(post(client, body), 422, "invalid_instances")["details"]]
    assert at == ["line 2/city", "line 5/age"]


def test_marks_are_told_by_their_line_in_json(client: TestClient) -> None:
    """A number far outside the training range is answered, and the answer in JSON says so."""
    response = post(client, f"{HEADER}\n{LINE}\n100000,,Bern,true,free", accept="application/json")
    assert response.json()["marks"][0]["at"] == "line 3/age"


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "bom-alone": (b"\xef\xbb\xbf", "is empty"),
    "line-ends-alone": (b"\r\n\n", "is empty"),
    "nul": (f"{LINE}\0".encode(), "NUL"),
    "utf-16": (LINE.encode("utf-16"), "NUL"),
    "latin-1": (f"{HEADER}\n{LINE}".encode("latin-1"), "not UTF-8, at byte 35, in line 2"),
    "open-quote": (f'{HEADER}\n{LINE}\n40,,"Bern,true,free\n'.encode(), "a quote in line 3"),
    "quote-in-a-cell": (f'{HEADER}\n40,,Be"rn,true,free\n'.encode(), "a quote in line 2"),
    "quotes-in-a-cell": (f'{HEADER}\n40,,Be"r"n,true,free\n'.encode(), "a quote in line 2"),
    "after-a-quote": (f'{HEADER}\n40,,"Bern" ,true,free\n'.encode(), "a quoted cell of line 2"),
    "one-quote": (b'"', "a quote in line 1"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_csv_is_told(case: str, client: TestClient) -> None:
    """Bytes that are no CSV in UTF-8 are a 400 that says where."""
    body, expected = BROKEN[case]
    assert expected in error(post(client, body), 400, "malformed_body")["message"]


def test_a_header_alone_asks_for_nothing(client: TestClient) -> None:
    """A header without values is a fault, as an empty list is."""
    assert error(post(client, HEADER), 400, "invalid_body")["message"] == "There is nothing to predict."


def test_another_charset_is_refused(client: TestClient) -> None:
    """Text is in UTF-8."""
    error(post(client, LINE, "text/csv; charset=latin1"), 415, "unsupported_media_type")


def test_rows_are_limited(serving: Callable[..., TestClient]) -> None:
    """More rows than a request may have are a 413, and a header is none of them."""
    client = serving("binary", MAX_INSTANCES="3")
    assert len(read(post(client, f"{HEADER}\n" + f"{LINE}\n" * 3))) == 4
    for body in (f"{HEADER}\n" + f"{LINE}\n" * 4, f"{LINE}\n" * 4):
        assert error(post(client, body), 413, "too_many_instances")["message"].startswith("4 instances were sent")


def test_cells_without_end_are_refused_unread(serving: Callable[..., TestClient]) -> None:
    """Far more cells than instances have cost no memory; commas in quotes are none."""
    client = serving("text", MAX_INSTANCES="10")
    error(post(client, "," * 5_000), 413, "too_many_instances")
    assert len(read(post(client, f'"{"," * 5_000}"'))) == 2


ACCEPTED: dict[str, bool] = {
    "*/*": False,
    "text/csv": False,
    "application/json": True,
    "APPLICATION/JSON; q=0.5": True,
    "application/json, text/csv": True,
    "text/csv, application/json": False,
    "text/html, */*, application/json": False,
    "text/html, application/json;q=0.9, */*;q=0.8": True,
    "image/png": False,
    "": False,
}


@pytest.mark.parametrize("accept", ACCEPTED)
def test_accept_chooses_between_csv_and_json(accept: str, client: TestClient) -> None:
    """JSON that is named before CSV and before anything is the answer's format."""
    response = post(client, FORMS["header"], accept=accept)
    if ACCEPTED[accept]:
        assert as_table(response.json(), [{"name": "label"}]) == native_table(client, [GOOD])
    else:
        assert read(response) == cells(native_table(client, [GOOD]))


def test_pandas_reads_the_answer(client: TestClient) -> None:
    """What pandas writes is read, and it reads what is answered, to the same floats."""
    frame = TOYS["binary"]().features
    response = post(client, frame.to_csv(index=False))
    answer = pd.read_csv(io.StringIO(response.text)).drop(columns="prediction_id")
    assert answer.to_dict("list") == native_table(client, instances_of("binary"))


@pytest.fixture
def served(published: Callable[[str], Version]) -> Served:
    """Return what dialects know of an endpoint of the binary toy."""
    return Served(published("binary").manifest, 10, Totals(), lambda _: b"")


def test_the_dialect_describes_itself(served: Served) -> None:
    """A body and its answer are text, and the answer's media type is CSV."""
    described = dialect.describe(served)
    assert described.request["type"] == described.answer["type"] == "string"
    assert ", ".join(GOOD) in described.request["description"]
    assert described.answer_media == "text/csv"


NUMBERS = st.none() | st.floats(-100, 200) | st.integers(-100, 200)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "age": st.integers(-50, 150) | st.integers(-50, 150).map(float),
            "income": NUMBERS,
            "city": st.sampled_from(["Bern", "Genève", "Zürich"]),
            "member": st.booleans(),
            "plan": st.sampled_from(["free", "paid", "team"]),
        }
    ),
    min_size=1,
    max_size=8,
)
HOW = st.fixed_dictionaries(
    {
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
    }
)


def test_any_rows_get_the_native_answer(client: TestClient) -> None:
    """Rows of any values, however Python or pandas writes them, are answered as in JSON."""

    @given(rows=ROWS, order=st.permutations(list(GOOD)), how=HOW)
    @MANY
    def check(rows: list[dict[str, Any]], order: list[str], how: dict[str, Any]) -> None:
        expected = cells(native_table(client, rows))
        by_name = [order, *([row[name] for name in order] for row in rows)]
        assert read(post(client, written(by_name, **how))) == expected
        assert read(post(client, written([[row[name] for name in GOOD] for row in rows], **how))) == expected
        assert read(post(client, pd.DataFrame(rows).to_csv(index=False))) == expected

    check()


def test_no_text_is_our_fault(client: TestClient) -> None:
    """Whatever the bytes, the answer is one or names a fault of the caller's, in few words."""
    pieces = st.sampled_from([",", "\n", '"', "\r\n", HEADER, LINE, "age", "1", "nan", "\ufeff", "\0", " ", "é"])
    text = st.lists(pieces | st.text(max_size=3), max_size=30).map(lambda found: "".join(found).encode())

    @given(body=text | st.binary(max_size=60))
    @MANY
    def check(body: bytes) -> None:
        response = post(client, body)
        assert response.status_code in (200, 400, 413, 422)
        assert len(response.content) < 20_000

    check()


def test_a_hundred_thousand_rows_are_answered(serving: Callable[..., TestClient]) -> None:
    """As many rows as one request may hold get as many lines."""
    client = serving("regression")
    response = post(client, "age\n" + "40\n" * 100_000)
    assert response.text.count("\n") == 100_001


def test_instances_alone_are_read_for_other_dialects(served: Served) -> None:
    """Another dialect gets a body's rows and their lines, typed by the signature."""
    read = dialect.instances(Incoming({b"content-type": b"text/csv"}, f"{LINE}\n1,2".encode(), {}, ()), served)
    assert list(read.rows) == [dict(GOOD), ["1", "2"]]
    assert [read.at(0), read.at(1)] == ["line 1", "line 2"]
