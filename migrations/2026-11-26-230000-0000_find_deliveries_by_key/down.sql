drop index deliveries_due;
create index deliveries_due on deliveries (lane, webhook, vis_at);
