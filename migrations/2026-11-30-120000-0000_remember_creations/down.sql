drop table creations;
