-- What a meter is stands in every decision that met it: so what nearly every limit is (enforced, refusing, never reset)
-- is left out there, as in the record beside it: 1,550 bytes for a decision of four meters, where it was 1,990.
-- The window is always told: replicas of the release before, which run on while the new one comes up, read it.
do $$
declare
  v_post constant text := pg_get_functiondef('tollgate_post'::regproc);
  v_from constant int := strpos(v_post, '|| ''","mode":"''');
  v_end constant text := 'coalesce(to_json(window_end)::text, ''null'')';
  v_to constant int := strpos(v_post, v_end) + length(v_end);
begin
  if v_from = 0 or v_to < v_from then
    raise exception 'tollgate_post is not the function that this migration changes';
  end if;
  execute overlay(v_post placing $head$|| '"' || case mode when 'enforce' then '' else ',"mode":"' || mode || '"' end
             || case when is_share then ',"share":"run"' else '' end
             || case on_exceed when 'refuse' then '' else ',"on_exceed":"' || on_exceed || '"' end
             || ',"limit":"' || amount || '"'
             || case when window_end is null then '' else ',"resets_at":' || to_json(window_end)::text end$head$
                  from v_from for v_to - v_from);
end $$;
