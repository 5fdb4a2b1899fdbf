drop function make_partition(text, date), drop_partition(text, date);
