-- Claims: an attempt holds an idempotency key, or an effect of an operation, so that nothing happens twice. What became
-- of the attempt that holds one is in the ledger alone, and is asked there. A posting has locked each claim that it asks
-- about by its number, so that what is answered here holds until its commit.

-- Whether an idempotency key lets an ask pass: null, or the reason against it and the attempt that holds
-- the key. `claim` is {"digest", "content", "accepts_unknown"}.
create function tollgate_refuse_duplicate(
  tenant text, ask_door text, claim json, at timestamptz, out reason text, out holder text
)
language plpgsql
as $$
#variable_conflict use_column
declare
  known record;
  became text;
begin
  select i.* into known from idempotency_keys i
  where i.tenant_id = tenant and i.door = ask_door and i.key_digest = claim->>'digest';
  if not found then return; end if;
  became := (select a.state from tollgate_attempt_state(tenant, known.attempt_id) as a);
  -- What runs or is unknown keeps its key, however old it is.
  if known.expires_at < at and became not in ('running', 'left', 'unknown') then return; end if;
  if known.content_digest <> claim->>'content' then
    reason := 'idempotency_key_reused';
    return;
  end if;
  holder := known.attempt_id;
  reason := case
    when became in ('running', 'left') then 'idempotency_in_progress'
    when became = 'succeeded' then 'duplicate_request'
    when became = 'unknown' and not (claim->>'accepts_unknown')::boolean then 'outcome_unknown'
  end;
end $$;
--> statement-breakpoint

-- Whether an operation may have an effect: null, or the reason against it and the attempt that holds the
-- effect. `claim` is {"type", "key", "effect", "content", "may_repeat_unknown", "repeats"}.
create function tollgate_refuse_effect(
  tenant text, claim json, out reason text, out holder text
)
language plpgsql
as $$
#variable_conflict use_column
declare
  known record;
  became text;
begin
  select e.* into known from effects e
  where e.tenant_id = tenant and e.operation_type = claim->>'type'
    and e.operation_key = claim->>'key' and e.effect = claim->>'effect';
  if not found then return; end if;
  became := (select a.state from tollgate_attempt_state(tenant, known.attempt_id) as a);
  -- It is known not to be applied: free again, for any content.
  if became in ('released', 'failed') then return; end if;
  holder := known.attempt_id;
  -- Whoever names what he repeats, repeats it.
  if claim->>'repeats' = known.attempt_id and became in ('succeeded', 'aborted') then
    holder := null;
    return;
  end if;
  reason := case
    when known.content_digest <> claim->>'content' then 'operation_conflict'
    when became in ('running', 'left') then 'effect_in_flight'
    when became = 'unknown' then
      case when (claim->>'may_repeat_unknown')::boolean then null else 'effect_uncertain' end
    else 'effect_applied'
  end;
end $$;
