# Maximum likelihood by lme4::glmer (Laplace), to lay beside bayesmix. Called as SEED DRAWS OUT.
suppressPackageStartupMessages(library(lme4))

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
census <- read.csv(file.path(here, "census.csv"))
census$low <- census$total - census$high

fit <- glmer(cbind(high, low) ~ sex + (sex | edu), data = census, family = binomial())

effects <- VarCorr(fit)$edu
sigmas <- attr(effects, "stddev")
cat(sprintf(
  paste0(
    'DIAGNOSED {"log_likelihood": %.6f, "a": %.6f, "b": %.6f, "sigma_a": %.6f, ',
    '"sigma_b": %.6f, "corr": %.6f, "version": "lme4 %s"}\n'
  ),
  logLik(fit), fixef(fit)[1], fixef(fit)[2], sigmas[1], sigmas[2],
  attr(effects, "correlation")[1, 2], packageVersion("lme4")
))
