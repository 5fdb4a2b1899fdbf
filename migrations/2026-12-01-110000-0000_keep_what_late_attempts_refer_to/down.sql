delete from settings where key = 'events_kept_since';
drop index outcomes_late;
drop index attempts_late;
