alter table webhook_health drop constraint webhook_health_last_pause;
alter table webhook_health drop column last_resumed_at;
alter table webhook_health drop column last_paused_at;
