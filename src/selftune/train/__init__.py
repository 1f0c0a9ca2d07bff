"""Training: what engines are asked, and the job that asks them."""

from selftune.core.settings import let_threads_sleep

let_threads_sleep()  # every module that loads torch is in this package
