-- Partitions are made and dropped with the rights of the role that owns the tables, so that servers need rights on rows alone.
-- Who else may call these functions is granted by name (docs/operations.md).
--
-- A caller chooses one of three tables and a day, nothing else: names and bounds are made here. The tables are named with
-- their schema, the one migrated into, and the search path has the catalogue alone, so that nothing that somebody else
-- has made can stand for what is meant.
do $migration$
begin
    execute format($definition$
        create function make_partition(parent text, day date) returns boolean
        language plpgsql security definer set search_path = pg_catalog, pg_temp
        as $function$
        declare
            name text := parent || to_char(day, '_YYYYMMDD');
        begin
            if (parent in ('events', 'attempts', 'outcomes') and isfinite(day)) is not true then
                raise exception 'there are no partitions of %% for %%', parent, day using errcode = '22023';
            end if;
            if to_regclass(format('%%I.%%I', %1$L, name)) is not null then
                return false;
            end if;
            execute format('create table %%I.%%I partition of %%I.%%I for values from (%%L) to (%%L)',
                           %1$L, name, %1$L, parent,
                           to_char(day, 'YYYY-MM-DD 00:00:00+00'), to_char(day + 1, 'YYYY-MM-DD 00:00:00+00'));
            return true;
        end
        $function$
    $definition$, current_schema());
    execute format($definition$
        create function drop_partition(parent text, day date) returns boolean
        language plpgsql security definer set search_path = pg_catalog, pg_temp
        as $function$
        declare
            name text := parent || to_char(day, '_YYYYMMDD');
        begin
            if (parent in ('events', 'attempts', 'outcomes') and isfinite(day)) is not true then
                raise exception 'there are no partitions of %% for %%', parent, day using errcode = '22023';
            end if;
            if not exists (select from pg_inherits
                           where inhrelid = to_regclass(format('%%I.%%I', %1$L, name))
                             and inhparent = to_regclass(format('%%I.%%I', %1$L, parent))) then
                return false;
            end if;
            execute format('drop table %%I.%%I', %1$L, name);
            return true;
        end
        $function$
    $definition$, current_schema());
    revoke all on function make_partition(text, date), drop_partition(text, date) from public;
    -- Whoever migrates, a superuser for instance: these have the rights of the tables' owner, no more.
    execute (
        select format('alter function make_partition(text, date) owner to %1$I;
                       alter function drop_partition(text, date) owner to %1$I', pg_get_userbyid(relowner))
        from pg_class where oid = format('%I.events', current_schema())::regclass
    );
end
$migration$;
