drop index attempts_failed;
