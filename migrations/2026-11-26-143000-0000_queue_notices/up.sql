-- The notices that the platform's own endpoint has not received yet (R4), one row per webhook that ever had any: a queue in
-- the order of writing. Only its head is being sent. `vis_at` is when a process may take it: when the head is due, or the
-- end of a lease. The row stays when the queue is empty: an append and the last notice's end cannot miss each other.
create table notice_queues (
    lane     integer not null,
    webhook  uuid not null,
    notices  uuid[] not null,
    attempts integer not null check (attempts >= 0),
    vis_at   timestamptz,
    token    bigint not null,
    primary key (lane, webhook),
    check ((vis_at is null) = (cardinality(notices) = 0)),
    check (attempts = 0 or vis_at is not null)
);
create index notice_queues_due on notice_queues (vis_at) where vis_at is not null;
