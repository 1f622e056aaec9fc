# Binomial mixed models of data of others by lme4::glmer. Called as FOLDER, which holds NAME.csv;
# prints a line of JSON for each model: log-likelihood, standard deviations, processor seconds.
suppressPackageStartupMessages(library(lme4))
folder <- commandArgs(TRUE)[1]
rows <- function(name) read.csv(file.path(folder, paste0(name, ".csv")), stringsAsFactors = TRUE)

tell <- function(name, expr) {
  time <- system.time(fit <- suppressWarnings(suppressMessages(expr)))
  sds <- paste(round(as.data.frame(VarCorr(fit))$sdcor, 5), collapse = ", ")
  cat(sprintf(
    '{"name": "%s", "log_likelihood": %.6f, "sds": [%s], "seconds": %.3f, "version": "lme4 %s"}\n',
    name, as.numeric(logLik(fit)), sds, time[["user.self"]] + time[["sys.self"]],
    packageVersion("lme4")
  ))
}

d <- rows("cbpp"); d$period <- factor(d$period); d$herd <- factor(d$herd); d$row <- factor(d$row)
tell("cbpp", glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), d, binomial))
tell("cbpp, rows", glmer(
  cbind(incidence, size - incidence) ~ period + (1 | herd) + (1 | row), d, binomial
))
d <- rows("bacteria")
tell("bacteria", glmer(y ~ trt + late + (1 | ID), d, binomial))
tell("bacteria, independent", glmer(y ~ late + (1 | ID) + (0 + late | ID), d, binomial))
d <- rows("birthwt"); d$rid <- factor(d$rid)
tell("birthwt, rows", glmer(low ~ age + (1 | rid), d, binomial))
d <- rows("contraception"); d$district <- factor(d$district)
tell("contraception, slopes", glmer(
  use ~ age + I(age^2) + urban + livch + (urban | district), d, binomial
))
tell("contraception, nested", glmer(
  use ~ poly(age, 2) + urban * livch + (1 | district) + (1 | district:urban), d, binomial
))
d <- rows("verbagg"); d$id <- factor(d$id)
tell("verbagg", glmer(r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item), d, binomial))
d <- rows("guimmun"); d$mom <- factor(d$mom); d$comm <- factor(d$comm)
tell("guimmun", glmer(immun ~ kid2p + ord + ethn + rural + (1 | comm) + (1 | mom), d, binomial))
for (name in c("generated 1e4", "generated 1e5")) {
  d <- rows(name); d$g <- factor(d$g)
  tell(name, glmer(y ~ x + (1 | g), d, binomial))
}
