"""Why some public classes of scikit-learn are not compiled; a test holds the names to those without a converter."""

WHY = {
    "takes images, not the rows of a request": ("PatchExtractor",),
    "gives a pair where a pipeline takes a matrix": ("PLSSVD",),
    "transforms targets, not the rows of a request": ("LabelBinarizer", "LabelEncoder", "MultiLabelBinarizer"),
    "solves an optimization for each row, whose last bits depend on the solver": (
        *("DictionaryLearning", "LatentDirichletAllocation", "MiniBatchDictionaryLearning", "SparseCoder"),
    ),
    "answers a row otherwise alone than among others, so that `package` refuses it": ("MiniBatchNMF", "NMF"),
    "fails on a single row, so that `package` refuses it": ("MiniBatchSparsePCA", "SparsePCA"),
    "magnifies the last bits of a product: a cosine, a kernel's eigenvectors": (
        *("Isomap", "LocallyLinearEmbedding", "PolynomialCountSketch"),
    ),
    "gives a sparse matrix as wide as the training has rows": ("KNeighborsTransformer", "RadiusNeighborsTransformer"),
}
REASONS = {name: reason for reason, names in WHY.items() for name in names}
