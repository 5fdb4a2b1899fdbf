-- Notices of recoveries (kind 7), by age: every success that ends a failure window makes one, so they are deleted with the
-- history. The other kinds are few, and stay as long as their webhook.
create index notices_of_recoveries on notices (at) where kind = 7;
