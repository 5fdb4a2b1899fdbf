-- The index over due times, for what looks for them alone. Its condition always holds, and only statements that name it can
-- use the index. Those that look for a delivery by its key cannot: to a planner without statistics, which a queue that was
-- just empty has none of, this index looked as good as the key, and all that a webhook is owed was read for each.
drop index deliveries_due;
create index deliveries_due on deliveries (lane, webhook, vis_at) where vis_at > '-infinity';
