-- Approvals: what a posting asks people about one call, and what became of it.
--
-- Lock order. An approval is locked after the meters of its posting, and by a vote alone, which takes no
-- meter. A posting that asks for several has the locks of all their digests by then, taken in order at its
-- beginning: so two postings cannot wait for each other here.

-- The key with which a chain of rotations began. A successor is in the hands of whoever held its
-- predecessor: such keys are one person, who neither approves what he asked for nor votes twice.
create function tollgate_first_key(tenant text, key text) returns text
language sql stable
as $$
  with recursive line(key_id, rotated_from, depth) as (
    select k.key_id, k.rotated_from, 1 from keys k where k.tenant_id = tenant and k.key_id = key
    union all
    select k.key_id, k.rotated_from, line.depth + 1
    from line join keys k on k.tenant_id = tenant and k.key_id = line.rotated_from
  )
  select coalesce((select line.key_id from line order by line.depth desc limit 1), key)
$$;
--> statement-breakpoint

-- How many could still approve: keys that work, with the scope and the role, of others than the requester,
-- that have not voted on it. `approval` null: on one that is not there yet.
create function tollgate_approvers_left(tenant text, requester text, approver_role text, approval text)
returns int
language sql stable
as $$
  select count(distinct able.first)::int
  from (
    select tollgate_first_key(tenant, k.key_id) as first
    from keys k
    where k.tenant_id = tenant and 'approve' = any (k.scopes) and k.revoked_at is null
      and (k.expires_at is null or k.expires_at > tollgate_now())
      and (approver_role is null or k.labels ->> 'role' = approver_role)
  ) as able
  where able.first <> tollgate_first_key(tenant, requester)
    and able.first not in (
      select tollgate_first_key(tenant, v.key_id) from approval_votes v
      where v.tenant_id = tenant and v.approval_id = approval)
$$;
--> statement-breakpoint

-- What webhooks are told of an approval. Of the call itself only what names it: its content is sealed, and
-- a policy's reason may quote it.
create function tollgate_approval_message(tenant text, approval text, message_kind text) returns text
language sql stable
as $$
  select json_build_object(
    'type', message_kind,
    'timestamp', tollgate_iso(tollgate_now()),
    'data', json_build_object(
      'approval_id', a.approval_id, 'tenant', a.tenant_id, 'state', a.state, 'digest', a.digest,
      'requested_by', a.requested_by, 'run', a.run_id, 'step', a.step_id,
      'decision', 'dec_' || substr(a.attempt_id, 5),
      'door', a.door, 'operation', a.operation, 'resource', a.resource,
      'estimate_usd', trim_scale(a.estimate_picousd * 0.000000000001)::text,
      'quorum', a.quorum, 'role', a.role,
      'policies', (
        select coalesce(json_agg(json_build_object('id', p ->> 'id', 'version', p ->> 'version')), '[]')
        from json_array_elements(a.policies) as p),
      'created_at', tollgate_iso(a.created_at), 'expires_at', tollgate_iso(a.expires_at)))::text
  from approvals a
  where a.tenant_id = tenant and a.approval_id = approval
$$;
--> statement-breakpoint

-- Uses an approval of exactly this call up, or says what became of it, or makes the question and tells the webhooks.
-- States: 'approved' (used up by this attempt just now: it may run), 'pending', 'denied', 'cancelled',
-- 'expired' (nobody answered in time), 'lapsed' (approved and not used in time), 'consumed' (used up
-- before), 'impossible' (fewer keys could approve than must).
--
-- One digest is asked about once. `new_approval` and `new_message` are the ids to use where it was not
-- asked before; `sealed` is the call, sealed for the row `new_approval`, in base64.
create function tollgate_ask_approval(
  tenant text, asked_digest text, new_approval text, new_message text,
  attempt text, requester text, run text, step text, asked_door text, asked_operation text,
  asked_resource text, estimate numeric, asking_policies text,
  needed int, approver_role text, expires_ms bigint, sealed text
) returns table (state text, approval_id text)
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := tollgate_now();
  v_row approvals%rowtype;
begin
  select * into v_row from approvals a
    where a.tenant_id = tenant and a.digest = asked_digest for no key update of a;
  if not found then
    -- Nobody answers a thousand questions: more are no questions, and each keeps a call.
    if tollgate_approvers_left(tenant, requester, approver_role, null) < needed
      or (select count(*) from (
            select from approvals a where a.tenant_id = tenant and a.state = 'pending'
              and a.expires_at > v_now limit 1000) as waiting) >= 1000
    then
      return query select 'impossible', null::text;
      return;
    end if;
    insert into approvals (
      tenant_id, approval_id, digest, requested_by, attempt_id, run_id, step_id, door, operation,
      resource, estimate_picousd, sealed_call, policies, quorum, role, created_at, expires_at
    ) values (
      tenant, new_approval, asked_digest, requester, attempt, run, step, asked_door, asked_operation,
      asked_resource, estimate, decode(sealed, 'base64'), asking_policies::json, needed, approver_role,
      v_now, v_now + expires_ms * interval '1 millisecond'
    ) on conflict on constraint approvals_one_per_digest do nothing;
    if found then
      perform tollgate_outbox(tenant, new_message, 'approval.requested',
        tollgate_approval_message(tenant, new_approval, 'approval.requested'));
      return query select 'pending', new_approval;
      return;
    end if;
    -- Somebody asked the same at the same moment, and has committed it.
    select * into v_row from approvals a
      where a.tenant_id = tenant and a.digest = asked_digest for no key update of a;
  end if;

  if v_row.state = 'approved' and v_row.expires_at > v_now then
    update approvals a set state = 'consumed', consumed_by = attempt
      where a.tenant_id = tenant and a.approval_id = v_row.approval_id;
    return query select 'approved', v_row.approval_id;
    return;
  end if;
  return query select
    case
      when v_row.state = 'approved' then 'lapsed'
      when v_row.state = 'pending' and v_row.expires_at <= v_now then 'expired'
      when v_row.state = 'pending' and v_row.quorum > tollgate_approvers_left(
          tenant, v_row.requested_by, v_row.role, v_row.approval_id)
        + (select count(*) from approval_votes v
           where v.tenant_id = tenant and v.approval_id = v_row.approval_id and v.approves)
        then 'impossible'
      else v_row.state
    end,
    v_row.approval_id;
end $$;
