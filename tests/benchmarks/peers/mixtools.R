# Mixture of three regressions by mixtools (no gate: regmixEM has constant weights), 15 starts.
# Called as SEED DRAWS OUT, with the data in the file that ONE_TO_MANY names.
suppressPackageStartupMessages(library(mixtools))
set.seed(as.integer(commandArgs(TRUE)[1]))
data <- read.csv(Sys.getenv("ONE_TO_MANY"))
values <- c()
seconds <- system.time(for (i in 1:15) {
  invisible(capture.output(fit <- try(regmixEM(data$target, data$x, k = 3), silent = TRUE)))
  if (!inherits(fit, "try-error")) values <- c(values, fit$loglik)
})[["elapsed"]]
cat(sprintf(
  'DIAGNOSED {"seconds": %.4f, "log_likelihood": %.4f, "worst": %.4f, "version": "mixtools %s"}\n',
  seconds / 15, max(values), min(values), packageVersion("mixtools")
))
