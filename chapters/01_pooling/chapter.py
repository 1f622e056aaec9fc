# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Pooling: seven groups, three answers
#
# In 1994 the census office of the United States asked 32,561 people about their schooling and
# their income. How does the chance of earning more than 50,000 dollars a year depend on
# education, and how does it differ between women and men? Counting gives an answer for each
# group. Some groups are large and some are small, and the question of this chapter is how much
# one group may learn from the others.
#
# You need one course in statistics: the binomial distribution, odds, and what a standard error
# is. You need no PyMC. You will learn
#
# - to write one model as an equation, in PyMC, and in one line, and to *prove* that the three are
#   the same;
# - what complete, no and partial pooling are, and how to see how much pooling a model really
#   does;
# - what a sampler's diagnostics can tell, and what they cannot;
# - to answer a question about probabilities with a probability.
#
# The chapter follows a real exam paper, called *the source* here. The paper is good, and like all
# papers it has mistakes. Wherever one comes up, the chapter shows it, says how one could have
# noticed, and puts it right.

# %%
try:
    import bayesmix as bm
except ModuleNotFoundError:
    raise SystemExit(
        "This chapter needs bayesmix: see 'Two commands' in its README."
    ) from None

import numpy as np
import pandas as pd
import pymc as pm

SEED = 1
LABELS = {"sex": {0: "female", 1: "male"}}

# %% [markdown]
# ## The data
#
# The raw file has one row for each person. Only three columns matter here, and they are counted
# into a table with one row for each *cell*, that is, each combination of education and sex:

# %%
people = pd.DataFrame(
    {
        "education": ["HS-grad", "Doctorate", "HS-grad", "9th"],
        "sex": ["Female", "Male", "Female", "Male"],
        "income": ["<=50K", ">50K", ">50K", "<=50K"],
    }
)
bm.datasets.census_from_rows(people)

# %% [markdown]
# The package holds the table for all 32,561 people. `total` is the number of people in a cell and
# `high` how many of them earned more than 50,000 dollars; `share` is the one divided by the
# other.

# %%
census = bm.datasets.census()
census.assign(share=(census["high"] / census["total"]).round(3))

# %% [markdown]
# The cells differ in size by a factor of 80. Among 7,111 men with a high-school diploma the share
# is known very well; there are only 86 women with a doctorate. A share $y/n$ has log-odds
# $\log\frac{y}{n-y}$, whose standard error is about $\sqrt{1/y + 1/(n-y)}$:

# %%
low = census["total"] - census["high"]
error = np.sqrt(1 / census["high"] + 1 / low)
print(f"women with a doctorate:     standard error {error[12]:.3f}")
print(f"men with a high-school diploma:            {error[3]:.3f}")

# %% [markdown]
# ## The model
#
# Let $y_i$ be the number of people with a high income among the $n_i$ people of cell $i$. The
# cell has education $e_i \in \{1, \dots, 7\}$ and sex $s_i$, 0 for women and 1 for men.
#
# $$
# \begin{aligned}
# y_i &\sim \mathrm{Binomial}(n_i, p_i), \\
# \log\frac{p_i}{1 - p_i} &= \alpha_{e_i} + b\, s_i, \\
# \alpha_e &\sim \mathrm{Normal}(a, \sigma), \qquad e = 1, \dots, 7, \\
# a &\sim \mathrm{Normal}(0, 10), \quad b \sim \mathrm{Normal}(0, 1), \quad \sigma \sim \mathrm{HalfCauchy}(2).
# \end{aligned}
# $$
#
# | symbol | in the package | meaning |
# |---|---|---|
# | $a$ | `Intercept` | log-odds of women at an average level of education |
# | $b$ | `sex` | what being male adds to the log-odds, the same at each level |
# | $\sigma$ | `sigma_edu` | how much levels of education differ |
# | $\alpha_e - a$ | `1\|edu` | how far level $e$ lies from the average |
# | $\alpha_e$ | `coefficients("edu")` | log-odds of women at level $e$ |
#
# The third line is the one that matters. It says that the seven numbers $\alpha_e$ come from one
# population, whose mean $a$ and spread $\sigma$ are to be learned as well. So each level tells
# something about the others, through $a$ and $\sigma$. This is *partial pooling*.
#
# PyMC says the same almost word for word:

# %%
edu = census["edu"].cat.codes.to_numpy()
sex = census["sex"].to_numpy()

with pm.Model() as by_hand:
    a = pm.Normal("a", 0, 10)
    b = pm.Normal("b", 0, 1)
    sigma = pm.HalfCauchy("sigma", 2)
    alpha = pm.Normal("alpha", a, sigma, shape=7)
    pm.Binomial(
        "high",
        n=census["total"],
        logit_p=alpha[edu] + b * sex,
        observed=census["high"],
    )

# %% [markdown]
# and the package says it in one line, plus the priors, which are the source's. In the formula `1`
# stands for the intercept, and `(1 | edu)` reads "an intercept for each level of `edu`".

# %%
PRIORS = {
    "Intercept": bm.Normal(0, 10),
    "sex": bm.Normal(0, 1),
    "sigma_edu": bm.HalfCauchy(2),
}
partial = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)", priors=PRIORS)

# %% [markdown]
# Are they the same model? Reading both is not a proof. Two models with the same parameters have
# the same posterior if their log densities differ by one constant, whatever the parameters are.
# So draw parameters from the prior, and compare:

# %%
NAMES = {
    "a": "Intercept",
    "b": "sex",
    "sigma": "sigma_edu[Intercept]",
    "alpha": "1|edu + Intercept",
}
print(bm.same_posterior(partial, census, by_hand, NAMES))

# %% [markdown]
# ## What the model believes before it sees an income
#
# A prior is a statement about the world, so look at it in the world's units. Here are the shares
# that the model thinks possible before it has seen a single income, beside those that were
# observed.

# %% mystnb={"image": {"alt": "Prior predictive intervals of the share of high incomes for 14 cells: every one of them reaches from 0 to 1."}}
before = bm.fit(partial, census, method="prior", seed=SEED, progress=False)
bm.plots.posterior_validation(before, by=["edu", "sex"], labels=LABELS)

# %%
prior_shares = before.curves()["probability"].to_numpy()
extreme = float(((prior_shares < 0.01) | (prior_shares > 0.99)).mean())
print(f"The prior gives {extreme:.0%} to shares below 1 % or above 99 %.")

# %% [markdown]
# Normal(0, 10) sounds vague, as if it said nothing. On the log-odds it says a great deal: ten
# log-odds are a share of 99.995 %, so two shares in three should be practically 0 or 1. No labour
# economist believes this. With thousands of people in the table the data overrule it, and we keep
# it in order to compare numbers with the source. With 14 *people* it would matter.

# %% [markdown]
# ## Sampling, and whether to believe it
#
# NUTS, the sampler of PyMC and Stan, walks through the posterior. Four walks, called chains,
# start at different places.

# %%
NUTS = bm.NUTS(draws=4000)
fit = bm.fit(partial, census, method=NUTS, seed=SEED, progress=False)
print(fit.diagnose())

# %% [markdown]
# Each line is a question with a number. The three to know by heart:
#
# - **R-hat** compares the spread between chains with the spread within them. It is 1 if the
#   chains agree. The classic version of 1992 looked at means only; today's is computed on ranks
#   and on half-chains, so that it also sees chains of different width and chains that drift.
# - **ESS**, the effective sample size, says how many *independent* draws would know as much as
#   these dependent ones.
# - **Divergences** are steps at which the simulation broke down. They point at places that the
#   sampler cannot enter.
#
# And a limit: R-hat sees what the chains saw. The source starts all its chains at one point, the
# posterior's mode. Chains from one start agree with each other as long as none of them has left,
# and they cannot tell of a second mode that none has visited.

# %% mystnb={"image": {"alt": "Trace plots and rank plots of four chains for the intercept, the effect of sex and the spread between levels of education: the chains cover the same values."}}
bm.plots.trace(fit, names=["Intercept", "sex", "sigma_edu"])

# %% [markdown]
# ### A band that is too narrow
#
# Geweke's diagnostic compares the beginning of a chain with its end: a z-score for each segment
# of the chain. The source draws lines at $\pm 1$ and is content because most scores lie between
# them. But a z-score of a chain that has settled is a standard normal number, and a third of
# those lie outside $\pm 1$. A check that one third of right answers fail cannot be used as it
# stands. The right lines are at $\pm 1.96$, where one score in twenty lies outside:

# %% mystnb={"image": {"alt": "Geweke z-scores along four chains, nearly all of them between minus 1.96 and 1.96."}}
bm.plots.geweke(fit, names=["Intercept", "sex", "sigma_edu"])

# %% [markdown]
# ## The same model without a prior
#
# Maximum likelihood is the posterior's twin. It integrates the seven $\alpha_e$ out and climbs to
# the best $a$, $b$, $\sigma$; the levels are then predicted given those. (It is what `glmer` of
# the R package lme4 does.)

# %%
mle = bm.fit(partial, census, method="mle", seed=SEED, progress=False)
beside = pd.DataFrame(
    {
        "posterior mean": fit.summary()["mean"],
        "posterior sd": fit.summary()["sd"],
        "maximum likelihood": mle.summary()["estimate"],
        "standard error": mle.summary()["standard_error"],
    }
)
beside.loc[["Intercept", "sex", "sigma_edu[Intercept]"]].round(3)

# %% [markdown]
# The effect of sex agrees within 0.002, because 32,561 people know it. The spread $\sigma$
# does not: only *seven* levels speak about it. The likelihood's best value is 1.22, the
# posterior's mean 1.54, because a spread of 3 is not ruled out by seven numbers and a spread of 0
# is.

# %% [markdown]
# ## Three poolings
#
# | | $\alpha_e$ | formula | says |
# |---|---|---|---|
# | complete pooling | all equal $a$ | `sex` | levels of education do not differ |
# | no pooling | seven numbers of their own | `0 + edu + sex` | a level tells nothing about another |
# | partial pooling | $\mathrm{Normal}(a, \sigma)$ | `sex + (1 \| edu)` | they are alike, and how alike is learned |
#
# The first is partial pooling with $\sigma = 0$, the second with $\sigma = \infty$.
#
# **Predict before you look.** There are between 413 and 10,501 people at a level. Will partial
# pooling lie closer to complete or to no pooling? For which level will it differ most from no
# pooling?
#
# <details><summary>Answer</summary>
#
# Practically on top of no pooling. A level is pulled towards the others by the fraction
# $\mathrm{se}^2 / (\mathrm{se}^2 + \sigma^2)$, about. The largest standard error of a level is
# 0.11 and $\sigma$ is 1.5, so the largest fraction is half a per cent: for doctorates, the
# smallest level.
#
# </details>

# %%
complete = bm.BinomialGLM(
    "p(high, total) ~ sex",
    priors={name: PRIORS[name] for name in ("Intercept", "sex")},
)
none = bm.BinomialGLM(
    "p(high, total) ~ 0 + edu + sex",
    priors={"Intercept": PRIORS["Intercept"], "sex": PRIORS["sex"]},
)
fits = {
    "complete": bm.fit(
        complete, census, method=NUTS, seed=SEED, progress=False
    ),
    "none": bm.fit(none, census, method=NUTS, seed=SEED, progress=False),
    "partial": fit,
}

# %% mystnb={"image": {"alt": "Log-odds of a high income at seven levels of education under three poolings: no pooling and partial pooling lie on the observed values, complete pooling lies far from nearly all of them."}}
bm.plots.pooling(fits, by="edu")

# %% [markdown]
# Complete pooling is wrong by as much as two log-odds. The other two cannot be told apart with
# the naked eye. This is not a defect of partial pooling: these data simply need none.
#
# (The source gives the slope $b$ a Normal(0, 10) prior in the two simple models and Normal(0, 1)
# in the others, and then compares the models. A comparison should change one thing at a time;
# here all models have the same prior for the slope.)

# %% [markdown]
# ## Shrinkage that is not where it seems
#
# The source asks which cell is shrunk most, and finds the women with a doctorate: 50 of 86 earn
# more than 50,000 dollars, which is a log-odds of 0.33, and the posterior mean is 0.02. It calls
# this move of 0.31 shrinkage, the effect of pooling on a small group.
#
# How could one notice that it is not? Fit the same model *without* pooling, and look where the
# cell goes.

# %% mystnb={"image": {"alt": "Observed and estimated log-odds of 14 cells without pooling and with partial pooling: both models move women with a doctorate by 0.3 from the observed value, and both by nearly the same amount."}}
bm.plots.pooling(
    {"none": fits["none"], "partial": fits["partial"]},
    by=["edu", "sex"],
    labels=LABELS,
)

# %%
doctors = census[(census["edu"] == "Doctorate") & (census["sex"] == 0)]
observed = float(np.log(50 / 36))
unpooled = float(fits["none"].curves(doctors)["logit"].mean())
pooled = float(fits["partial"].curves(doctors)["logit"].mean())
print(
    f"observed {observed:.3f}, no pooling {unpooled:.3f}, partial pooling {pooled:.3f}"
)
print(f"moved by the common effect of sex: {observed - unpooled:.3f}")
print(f"moved by pooling:                  {unpooled - pooled:.3f}")

# %% [markdown]
# Nearly all of the move is there without any pooling. It comes from another assumption: that
# being male adds the *same* $b$ at each level. Women and men with a doctorate differ by less than
# the others, so the model, which must give them the common difference, puts the women too low and
# the men too high. Pooling moves the cell by a hundredth.
#
# And 0.31 is only 1.4 of the cell's own standard errors, 0.22 each. A move should always be read
# beside the standard error that explains it.
#
# If the model is right, data drawn from it look like the data that were seen. The bars hold 50 %
# and 90 % of the predictions.

# %% mystnb={"image": {"alt": "Observed shares of high incomes in 14 cells, all inside the 90 % posterior predictive intervals."}}
bm.plots.posterior_validation(fit, by=["edu", "sex"], labels=LABELS)

# %% [markdown]
# The source draws this figure with bars from the 11th to the 89th percentile, without saying so.
# That is an interval of 78 %, so of 14 cells about 11 should lie inside. Count them:

# %%
narrow = fit.predict(quantiles=(0.11, 0.89))["quantile_of_target"].to_numpy()
inside = int(
    ((census["high"] >= narrow[0]) & (census["high"] <= narrow[1])).sum()
)
print(f"{inside} of 14 lie inside; {0.78 * 14:.0f} would be expected")

# %% [markdown]
# All of them do. This is no triumph, it is a warning about the check: the same 14 counts made the
# fit, with nine free numbers, so the predictions lie close to them. A check against the data that
# were fitted can find a bad model and cannot prove a good one. Still less does it prove, as the
# source concludes from it, that "sampling is going perfectly": that is what the diagnostics above
# are for.

# %% [markdown]
# ## Letting the effect of sex vary
#
# If a common $b$ is what moves the doctorates, let each level have its own. Now a level has two
# numbers, and they may be correlated:
#
# $$
# \begin{aligned}
# \log\frac{p_i}{1 - p_i} &= \alpha_{e_i} + \beta_{e_i} s_i, \\
# \begin{pmatrix} \alpha_e \\ \beta_e \end{pmatrix} &\sim
#   \mathrm{Normal}\left( \begin{pmatrix} a \\ b \end{pmatrix},
#   \begin{pmatrix} \sigma_1^2 & \rho\,\sigma_1 \sigma_2 \\ \rho\,\sigma_1 \sigma_2 & \sigma_2^2 \end{pmatrix} \right), \\
# p(\rho) &\propto 1 - \rho^2 .
# \end{aligned}
# $$
#
# The last line is the LKJ(2) prior for a correlation. There is *one* correlation, because there
# are two numbers at each level: the matrix is 2 × 2, and the numbers themselves form a table of 7
# × 2. (Not 14 × 14, which is what one gets from putting all of them into one vector.)
#
# To write it in PyMC, split the pair: first $\alpha_e$, then $\beta_e$ given $\alpha_e$, which is
# normal again. The prior $1 - \rho^2$ is that of a Beta(2, 2) variable, stretched from (0, 1) to
# (−1, 1).

# %%
with pm.Model() as slopes_by_hand:
    a = pm.Normal("a", 0, 10)
    b = pm.Normal("b", 0, 1)
    s = pm.HalfCauchy("s", 2, shape=2)
    h = pm.Beta("h", 2, 2)
    rho = 2 * h - 1
    alpha = pm.Normal("alpha", a, s[0], shape=7)
    given_alpha = b + rho * s[1] * (alpha - a) / s[0]
    beta = pm.Normal(
        "beta", given_alpha, s[1] * pm.math.sqrt(1 - rho**2), shape=7
    )
    logit = alpha[edu] + beta[edu] * sex
    pm.Binomial(
        "high", n=census["total"], logit_p=logit, observed=census["high"]
    )

PRIORS_SLOPES = {**PRIORS, "corr_edu": bm.LKJ(2)}
slopes = bm.BinomialGLM(
    "p(high, total) ~ sex + (sex | edu)", priors=PRIORS_SLOPES
)
COMMON = {
    "a": "Intercept",
    "b": "sex",
    "s": "sigma_edu",
    "h": "(corr_edu[Intercept, sex] + 1) / 2",
}
names = {**COMMON, "alpha": "1|edu + Intercept", "beta": "sex|edu + sex"}
print(bm.same_posterior(slopes, census, slopes_by_hand, names))

# %% [markdown]
# ### One posterior, three geometries
#
# The prior says that $\beta_e$ lies within about $\sigma_2$ of its mean. When $\sigma_2$ is
# small, all seven have to be in a narrow place; when it is large, they have room. A posterior of
# this shape is called a funnel, and a sampler whose steps are right for the wide end jumps past
# the narrow one. There the simulation diverges.
#
# The cure is to sample other coordinates. The *centred* form samples $\alpha_e$ and $\beta_e$
# themselves; the *non-centred* form samples standard normal numbers $z_e$ and computes
# $\beta_e = b + \sigma_2 z_e$. Which is better depends on how well the data know an effect. Here
# the intercepts are known well (centred is right) and the slopes badly (non-centred is right). The
# package's default, `mixed`, chooses for each effect of each level.

# %%
geometries = {}
for form in ("centered", "noncentered", "mixed"):
    model = bm.BinomialGLM(
        slopes.formula, priors=PRIORS_SLOPES, parametrization=form
    )
    geometries[form] = bm.fit(
        model, census, method=NUTS, seed=SEED, progress=False
    )
    statistics = geometries[form].diagnose().table
    diverging = int(geometries[form].tree["sample_stats"]["diverging"].sum())
    least, worst = statistics["ess_bulk"].min(), statistics["rhat"].max()
    print(f"{form:12} {diverging:4d} divergences,", end=" ")
    print(f"least ESS {least:6.0f}, R-hat {worst:.3f}")

# %% [markdown]
# The posterior is the same each time; what differs is whether the sampler gets around in it.
# Divergences are no blemish to be accepted: the draws near the narrow end are missing, so the
# estimate of $\sigma_2$ is too large. The source reports 22 and 67 of them, for two settings of
# its sampler, and goes on.

# %% mystnb={"image": {"alt": "Scatter plot of the spread of slopes on a log scale against the deviation of one slope, in the centred form: a funnel with divergent draws near its narrow end."}}
bm.plots.pair(
    geometries["centered"],
    names=["sigma_edu[sex]", "sex|edu[Doctorate]"],
    log=["sigma_edu[sex]"],
)

# %% [markdown]
# The source starts its chains at the posterior's mode. For the centred form there is none: let
# all seven slopes be equal and $\sigma_2$ run to zero, and the density grows without bound. The
# source's optimiser stopped after 1,801 steps with a gradient of 11,861, which is another way to
# say the same. The package says it in words:

# %%
try:
    bm.fit(
        geometries["centered"].model,
        census,
        method="map",
        seed=SEED,
        progress=False,
    )
except bm.errors.NotConverged as problem:
    print(problem)

# %% [markdown]
# ### A non-centred model that is another model
#
# The source also tries the non-centred form. Its code computes the deviations, $\sigma_1 z_{e1}$
# and so on, and uses them as they are: the means $a$ and $b$ are never added. Nothing crashes,
# R-hat is fine, and the predictions fit. What is wrong?

# %%
with pm.Model() as source_noncentred:
    a = pm.Normal("a", 0, 10)
    b = pm.Normal("b", 0, 1)
    s = pm.HalfCauchy("s", 2, shape=2)
    h = pm.Beta("h", 2, 2)
    rho = 2 * h - 1
    z = pm.Normal("z", 0, 1, shape=(7, 2))
    alpha = s[0] * z[:, 0]  # right: a + s[0] * z[:, 0]
    beta = s[1] * (
        rho * z[:, 0] + pm.math.sqrt(1 - rho**2) * z[:, 1]
    )  # right: b + ...
    logit = alpha[edu] + beta[edu] * sex
    pm.Binomial(
        "high", n=census["total"], logit_p=logit, observed=census["high"]
    )

first = "1|edu / sigma_edu[Intercept]"
second = "sex|edu / sigma_edu[sex]"
corr = "corr_edu[Intercept, sex]"
z_of_ours = (
    f"stack({first}, ({second} - {corr} * {first}) / sqrt(1 - {corr} * {corr}))"
)
print(
    bm.same_posterior(
        slopes, census, source_noncentred, {**COMMON, "z": z_of_ours}
    )
)

# %% [markdown]
# In this model $a$ and $b$ appear in no observation: their posterior is their prior. One would have
# noticed by looking at them: a posterior sd of 10 for the intercept, after 32,561 people, is not
# possible. And the seven slopes, which all lie near 1.4 and close together, are now said to come from
# a population around 0. It is a model of its own, and a worse one.

# %% [markdown]
# ## Which model predicts best?
#
# A model should be judged on data it has not seen. Leave one cell out, fit to the other thirteen,
# and note the log probability of the count that was left out; the sum over all cells is called
# elpd, higher is better. WAIC and PSIS-LOO estimate it from one fit, and both say when they
# cannot.

# %%
fits["slopes"] = geometries["mixed"]
waic = bm.compare(fits, criterion="waic", progress=False)
waic.table[["elpd", "se", "elpd_diff", "se_diff", "n_bad_variance"]].round(1)

# %% [markdown]
# The last column is the warning: in so many of the 14 cells the estimate cannot be trusted. The
# source prints the warning on each row, and reads the table as if it had none. It had even called
# "the newest model the best" some thirty cells *before* the table was computed, and later says that
# the non-centred model "contains the most weight", which it does not.
#
# With 14 rows there is a plain way out: leave each row out in turn and fit again. (`loo="auto"`
# does so only where PSIS itself says that it cannot be trusted. With 14 rows even that warning
# depends on the seed, so we refit for every row.)

# %%
with_education = {name: fits[name] for name in ("none", "partial", "slopes")}
loo = bm.compare(with_education, loo="exact", progress=False)
loo.table[["elpd", "se", "elpd_diff", "se_diff", "mcse"]].round(2)

# %% [markdown]
# **Predict before you look up.** WAIC put varying slopes first, and called them 0.8 better than no
# pooling. Where are they now, and what does it mean?
#
# <details><summary>Answer</summary>
#
# They are last, more than a nat behind, and it means nothing either time: no difference between the
# three reaches two of its own standard errors. "These three cannot be told apart by these data" is a
# finding; "the lowest number wins" is not. What the first table does say, by two thousand nats, is
# that levels of education differ.
#
# </details>

# %% [markdown]
# ## Are men more advantaged at low levels of education?
#
# The source expects it, looks at probabilities, and concludes the opposite. Both are right,
# because there are two questions.

# %% mystnb={"image": {"alt": "Effect of sex at seven levels of education: differences of log-odds fall slightly with education, differences of probability rise from 0.06 to about 0.3."}}
bm.plots.effect_by_group(
    fits["slopes"], effect="sex", group="edu", labels=LABELS
)

# %%
slope = fits["slopes"].coefficients("edu")["sex"]
falls = float((slope[..., :3].mean("edu") > slope[..., 4:].mean("edu")).mean())
print(f"P(three lowest levels > three highest) = {falls:.2f}")

# %% [markdown]
# On the log-odds the advantage falls a little with education, and the data are not sure: the
# probability that it does is 0.73. On the probability it rises from 6 to about 30 percentage
# points. The curve from log-odds to probability is flat near 0 and steep near one half, and few
# people without a diploma earn that much, whatever their sex. Say which scale a question is about
# before answering it.

# %% [markdown]
# ## Two questions with a probability as their answer
#
# **Are men with a bachelor's degree more likely to earn more than 50,000 dollars than men with a
# degree of a professional school?** The source subtracts the means of the two log-odds, takes the
# exponential, and reports a "posterior probability of 105.7 %". No probability exceeds 100 %:
# what it computed is an odds *ratio* of 1.057. A posterior probability is a share of draws:

# %%
men = census[
    (census["sex"] == 1) & census["edu"].isin(["Prof School", "Bachelors"])
]
p = fits["slopes"].curves(men)["probability"].to_numpy()
more_likely = float((p[:, 1] > p[:, 0]).mean())
print(f"P(bachelor's > professional school | data) = {more_likely:.2f}")

# %% [markdown]
# **Of 86 women with a doctorate, how many would earn more than 50,000 dollars?** Not one number
# but a distribution. For each draw of the parameters one sample of 86 women is drawn, so that the
# width holds both what we do not know and the luck of a sample.

# %% mystnb={"image": {"alt": "Posterior predictive distribution of the number of women with a high income among 86 with a doctorate, from about 35 to 54, with the observed 50 inside."}}
bm.plots.predictive_count(
    fits["slopes"], {"edu": "Doctorate", "sex": 0}, labels=LABELS
)

# %% [markdown]
# ## What the fit says
#
# - Education matters most: from Some HS to Doctorate the log-odds of women rise from −3.9 to
#   about 0, a share from 2 % to 50 %.
# - At each level the odds of men are about four times those of women ($e^{1.37} = 3.9$). Whether
#   this changes with education cannot be said on the log-odds; in percentage points it grows from
#   6 to about 30.
# - Men with a bachelor's degree have a high income more often than men from professional schools
#   with probability 0.83.
# - Of 86 women with a doctorate, 35 to 54 would have a high income, with probability 0.9.
# - Pooling hardly moves anything here, and leave-one-out cannot tell the three models with
#   education apart.
#
# These are associations of 1994, not causes: age, hours and occupation are in the same census and
# were left out.

# %%
found = fit.summary()["mean"]
levels = fit.coefficients("edu")["Intercept"].mean(("chain", "draw"))
bm.book.check(
    "01_pooling",
    {
        "intercept": found["Intercept"],
        "effect of sex": found["sex"],
        "spread of levels": found["sigma_edu[Intercept]"],
        "women, Some HS": float(levels.sel(edu="Some HS")),
        "women, Doctorate": float(levels.sel(edu="Doctorate")),
        "women, Doctorate, no pooling": unpooled,
        "maximum likelihood, effect of sex": float(
            mle.summary().loc["sex", "estimate"]
        ),
        "maximum likelihood, spread": float(
            mle.summary().loc["sigma_edu[Intercept]", "estimate"]
        ),
        "prior share beyond 1 % and 99 %": extreme,
        "spread of slopes": fits["slopes"]
        .summary()
        .loc["sigma_edu[sex]", "mean"],
        "slopes fall": falls,
        "bachelor's above professional school": more_likely,
        "women with doctorate of 86": float(
            fits["slopes"].sample(doctors)["high"].mean()
        ),
        "elpd, no pooling": float(loo.table.loc["none", "elpd"]),
        "elpd, partial pooling": float(loo.table.loc["partial", "elpd"]),
        "elpd, varying slopes": float(loo.table.loc["slopes", "elpd"]),
    },
)

# %% [markdown]
# ## What to read
#
# - Gelman & Hill (2006), *Data Analysis Using Regression and Multilevel/Hierarchical Models*,
#   chapter 12, [doi:10.1017/CBO9780511790942](https://doi.org/10.1017/CBO9780511790942).
# - Betancourt & Girolami (2015), *Hamiltonian Monte Carlo for hierarchical models*, on funnels,
#   [doi:10.1201/b18502-5](https://doi.org/10.1201/b18502-5).
# - Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), on R-hat,
#   [doi:10.1214/20-BA1221](https://doi.org/10.1214/20-BA1221).
# - Vehtari, Gelman & Gabry (2017), on WAIC and leave-one-out,
#   [doi:10.1007/s11222-016-9696-4](https://doi.org/10.1007/s11222-016-9696-4).
# - Lewandowski, Kurowicka & Joe (2009), on the LKJ prior,
#   [doi:10.1016/j.jmva.2009.04.008](https://doi.org/10.1016/j.jmva.2009.04.008).
# - Data: Becker & Kohavi (1996), *Adult*, [doi:10.24432/C5XW20](https://doi.org/10.24432/C5XW20),
#   CC BY 4.0.
