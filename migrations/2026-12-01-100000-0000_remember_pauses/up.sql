-- From when until when a webhook was last paused (W13): a delivery that became due in that time is lost, even if a worker
-- reaches it later. Null until the first resumption. A server that does not know the columns leaves them as they are.
alter table webhook_health add column last_paused_at timestamptz;
alter table webhook_health add column last_resumed_at timestamptz;
alter table webhook_health add constraint webhook_health_last_pause check (
    (last_paused_at is null) = (last_resumed_at is null)
    and (last_paused_at is null or last_paused_at <= last_resumed_at)
);
