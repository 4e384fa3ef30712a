"""The tf-idf term over a few names is what the matrices' product is."""

import numpy as np

from anysize.coding.linking.ngrams import Ngrams, cosines

NAMES = ["острый бронхит", "хронический бронхит", "", "гипертензия", "бронхит", "язва желудка"]


def test_cosines_of_some_rows_are_the_products_of_the_matrices():
    ngrams = Ngrams(3, 5, 1 << 12).learn(NAMES)
    rows, asked = ngrams.rows(NAMES), ngrams.rows(["хр. бронхит", "", "язва"])
    some = np.array([2, 5, 1, 1, 0, 2])
    for place in range(3):
        wanted = (rows @ asked[place].T).toarray()[some, 0]
        np.testing.assert_allclose(cosines(rows, some, asked[place]), wanted, atol=1e-6)
    assert not len(cosines(rows, np.array([], int), asked[0]))
