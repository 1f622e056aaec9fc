"""Test NLL of ngboost's default regressor: ``ngboost_nll.py ROWS``, arrays x, y, new_x, new_y."""

import sys

import numpy as np
from ngboost import NGBRegressor

rows = np.load(sys.argv[1])
model = NGBRegressor(verbose=False, random_state=1).fit(rows["x"], rows["y"])
print(-model.pred_dist(rows["new_x"]).logpdf(rows["new_y"]).mean())
