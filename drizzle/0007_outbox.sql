-- The outbox writes one message for each webhook that wants it, in the transaction of what it tells of: it is sent if
-- and only if that happened. Answers how many webhooks will get it. `message` is the id of the message; each delivery
-- has its own.
create function tollgate_outbox(tenant text, message text, message_kind text, message_body text) returns int
language sql
as $$
  with written as (
    insert into deliveries (tenant_id, delivery_id, webhook_id, kind, body)
    select w.tenant_id, message || '_' || row_number() over (order by w.webhook_id), w.webhook_id,
           message_kind, message_body
    from webhooks w
    where w.tenant_id = tenant and w.removed_at is null and message_kind = any (w.kinds)
    returning delivery_id
  )
  select count(*)::int from written
$$;
