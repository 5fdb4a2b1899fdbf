-- What ended more than a day after its delivery was created, and everything about replays: the attempts and outcomes that need
-- their event for longer than the partition of its day would be kept (D10). They are few, so that other rows cost a comparison
-- and no entry. The condition is repeated in server/crates/store/src/partitions.rs and events.rs.
create index attempts_late on attempts (event) where generation > 0 or ended_at - created_at > interval '1 day';
create index outcomes_late on outcomes (event) where generation > 0 or at - created_at > interval '1 day';

-- Until now the events of a day were dropped without looking at what refers to them, so some attempts of replays have lost
-- their event. Late attempts of events before this day are not shown. Two days later than the oldest day that there is, because
-- servers that do not know the rule may drop further days until they are replaced.
insert into settings (key, value)
select 'events_kept_since', to_char(to_date(right(min(c.relname::text), 8), 'YYYYMMDD') + 2, 'YYYY-MM-DD')
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'events'::regclass
having count(*) > 0;
