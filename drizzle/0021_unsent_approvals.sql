-- Approvals of calls that were never sent.

-- Uses an approval of exactly this call up, or says what became of it, or makes the question and tells the webhooks.
-- States: 'approved' (used up by this attempt just now: it may run), 'pending', 'denied', 'cancelled',
-- 'expired' (nobody answered in time), 'lapsed' (approved and not used in time), 'consumed' (used up
-- before), 'impossible' (fewer keys could approve than must).
-- An attempt that the gate could not send has used nothing up: the next one has its approval, for as long as that
-- holds. Only its settlement says so, and not that it has none: another ask of this batch has none yet. Of what its
-- caller makes itself only the caller says so, who could have it run twice.
--
-- One digest is asked about once. `new_approval` and `new_message` are the ids to use where it was not
-- asked before; `sealed` is the call, sealed for the row `new_approval`, in base64.
create or replace function tollgate_ask_approval(
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

  if v_row.state = 'consumed' and v_row.door <> 'step' and exists (
    select from settlements s
    where s.tenant_id = tenant and s.attempt_id = v_row.consumed_by and s.ending = 'released'
  ) then
    v_row.state := 'approved';
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
