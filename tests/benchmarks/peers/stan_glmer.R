# Contestant: rstanarm's precompiled stan_glmer. Called as SEED DRAWS OUT.
suppressPackageStartupMessages(library(rstanarm))

arguments <- commandArgs(trailingOnly = TRUE)
seed <- as.integer(arguments[1])
draws <- as.integer(arguments[2])
out <- arguments[3]

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
census <- read.csv(file.path(here, "census.csv"))
census$low <- census$total - census$high

# decov(2) is the nearest prior that rstanarm has to HalfCauchy(2) on each sd and LKJ(2).
fit <- stan_glmer(
  cbind(high, low) ~ sex + (sex | edu), data = census, family = binomial(),
  prior = normal(0, 1, autoscale = FALSE),
  prior_intercept = normal(0, 10, autoscale = FALSE),
  prior_covariance = decov(2),
  chains = 4, iter = 1000 + draws, warmup = 1000, cores = 2, seed = seed, refresh = 0
)

raw <- as.array(fit)
pick <- function(name) raw[, , name]
sigma_a <- sqrt(pick("Sigma[edu:(Intercept),(Intercept)]"))
sigma_b <- sqrt(pick("Sigma[edu:sex,sex]"))
columns <- list(
  a = pick("(Intercept)"), b = pick("sex"), sigma_a = sigma_a, sigma_b = sigma_b,
  corr = pick("Sigma[edu:sex,(Intercept)]") / (sigma_a * sigma_b)
)
for (j in 0:6) {
  columns[[paste0("intercept_", j)]] <- columns$a + pick(sprintf("b[(Intercept) edu:%d]", j))
}
for (j in 0:6) columns[[paste0("slope_", j)]] <- columns$b + pick(sprintf("b[sex edu:%d]", j))

diagnosis <- sapply(columns, function(x) c(rstan::Rhat(x), rstan::ess_bulk(x), rstan::ess_tail(x)))
cat(sprintf(
  paste0(
    'DIAGNOSED {"rhat": %.4f, "ess_bulk": %.1f, "ess_tail": %.1f, "divergences": %d, ',
    '"version": "rstanarm %s, rstan %s"}\n'
  ),
  max(diagnosis[1, ]), min(diagnosis[2, ]), min(diagnosis[3, ]),
  rstan::get_num_divergent(fit$stanfit), packageVersion("rstanarm"), packageVersion("rstan")
))
flush(stdout())

table <- data.frame(chain = rep(0:3, each = draws), lapply(columns, as.vector))
write.csv(table, out, row.names = FALSE)
