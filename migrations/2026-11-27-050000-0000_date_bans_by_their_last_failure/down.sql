alter table webhook_health drop column last_counted_at;
