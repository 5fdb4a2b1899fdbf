-- The few deliveries that failed, among the many that did not: a list of them reads no others. Only their last attempt has
-- an entry, so that a success costs nothing.
create index attempts_failed on attempts (lane, webhook, created_at, event, generation) where ending = 2;
