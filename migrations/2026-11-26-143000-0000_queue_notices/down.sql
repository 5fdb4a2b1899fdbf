drop table notice_queues;
