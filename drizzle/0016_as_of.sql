-- As of when a tenant's figures are, or with null everybody's: what waits to be told anew holds it back.
create function tollgate_as_of(tenant text) returns timestamptz
language sql stable
as $$
  select least(
    s.as_of,
    (select min(o.since) from stale_outcomes o where tenant is null or o.tenant_id = tenant),
    (select min(r.since) from stale_runs r where tenant is null or r.tenant_id = tenant),
    (select min(t.revalued_since) from outcome_types t
     where t.revalued_to is not null and (tenant is null or t.tenant_id = tenant))
  )
  from roll_up_state s where s.one = 1
$$;
