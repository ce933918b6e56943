"""Converters of text: counted terms and their weights."""

from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer

from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.values import SparseMatrix, Value, text_of


def _counts(vectorizer: Any, value: Value, program: Program) -> SparseMatrix:
    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    found = _terms(vectorizer, value, program)
    register = program.add("count", found, vocabulary=terms, binary=bool(vectorizer.binary))
    return SparseMatrix(register, len(terms))


def _hashed(vectorizer: HashingVectorizer, value: Value, program: Program) -> SparseMatrix:
    if vectorizer.dtype != np.float64:
        raise NotCompiled(f"counts in {vectorizer.dtype}")
    width, signed = int(vectorizer.n_features), bool(vectorizer.alternate_sign)
    terms = _terms(vectorizer, value, program)
    register = program.add("hash_terms", terms, width=width, signed=signed, binary=bool(vectorizer.binary))
    if vectorizer.norm is not None:
        register = program.add("normalize", register, norm=vectorizer.norm)
    return SparseMatrix(register, width)


def _terms(vectorizer: Any, value: Value, program: Program) -> int:
    custom = [name for name in ("preprocessor", "tokenizer") if getattr(vectorizer, name) is not None]
    if custom or callable(vectorizer.analyzer) or callable(vectorizer.strip_accents) or vectorizer.input != "content":
        raise NotCompiled("has functions or inputs of its own")
    shortest, longest = vectorizer.ngram_range
    register = program.add(
        "prepare",
        text_of(value).register,
        lower=bool(vectorizer.lowercase),
        accents=vectorizer.strip_accents or "none",
    )
    if vectorizer.analyzer == "word":
        return program.add(
            "words",
            register,
            pattern=vectorizer.token_pattern,
            shortest=int(shortest),
            longest=int(longest),
            ignored=sorted(vectorizer.get_stop_words() or ()),
        )
    return program.add(
        "characters",
        register,
        within_words=vectorizer.analyzer == "char_wb",
        shortest=int(shortest),
        longest=int(longest),
    )


def _weights(transformer: TfidfTransformer, value: Value, program: Program) -> SparseMatrix:
    if not isinstance(value, SparseMatrix):
        raise NotCompiled("takes counts that are not sparse")
    register = value.register
    if transformer.sublinear_tf:
        register = program.add("damp", register)
    if transformer.use_idf:
        if transformer.idf_.dtype != np.float64:
            raise NotCompiled(f"was fitted with {transformer.idf_.dtype} numbers")
        register = program.add("weigh", register, arrays={"weights": transformer.idf_})
    if transformer.norm is not None:
        register = program.add("normalize", register, norm=transformer.norm)
    return SparseMatrix(register, value.width)


def _tfidf(vectorizer: TfidfVectorizer, value: Value, program: Program) -> SparseMatrix:
    if vectorizer.dtype != np.float64:
        raise NotCompiled(f"counts in {vectorizer.dtype}")
    return _weights(vectorizer._tfidf, _counts(vectorizer, value, program), program)


CONVERTERS: Converters = {
    CountVectorizer: {"transform": _counts},
    HashingVectorizer: {"transform": _hashed},
    TfidfTransformer: {"transform": _weights},
    TfidfVectorizer: {"transform": _tfidf},
}
