# Mixture of three regressions with a multinomial gate by flexmix: 15 starts, one by one.
# Called as SEED DRAWS OUT, with the data in the file that ONE_TO_MANY names.
suppressPackageStartupMessages(library(flexmix))
set.seed(as.integer(commandArgs(TRUE)[1]))
data <- read.csv(Sys.getenv("ONE_TO_MANY"))
values <- c()
seconds <- system.time(for (i in 1:15) {
  fit <- flexmix(target ~ x, data = data, k = 3, concomitant = FLXPmultinom(~x))
  values <- c(values, as.numeric(logLik(fit)))
})[["elapsed"]]
cat(sprintf(
  'DIAGNOSED {"seconds": %.4f, "log_likelihood": %.4f, "worst": %.4f, "version": "flexmix %s"}\n',
  seconds / 15, max(values), min(values), packageVersion("flexmix")
))
