-- Whom a run is of: what its first call says.
create type tollgate_payer as (key_id text, customer text, workflow text, labels jsonb);
