-- The latest end among the failed first tries that the counter holds. Null where a server that does not know it yet counted
-- them: the ban is then dated by those that are counted from now on.
alter table webhook_health add column last_counted_at timestamptz;
