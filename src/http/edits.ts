/** What must change in a body on its way: everything else of it is forwarded as the caller's bytes. */
import type { Intent } from "../core/intent.ts";
import type { Asked, Edits, Route } from "../dialects/dialect.ts";
import { defaultModel, outputField } from "../dialects/openai/classify.ts";
import type { Permit } from "../gate/admit.ts";
import { assert } from "../lib/assert.ts";

type Asking = { readonly intent: Intent; readonly route: Route; readonly asked: Asked | null };

/** `mayInject`: this upstream is not known to refuse being asked for usage in the client's stead. */
export function editsFor(permit: Permit, asking: Asking, mayInject: boolean): Edits {
  const { intent, route, asked } = asking;
  // The path loses the deployment that it named, so the body must name it, whatever it says itself.
  const isRenamed = permit.model !== intent.resource || route.pathModel !== null;
  // What answers must be what was judged, whatever the upstream takes for the default.
  const isNamedHere = asked?.model === null && defaultModel(route) !== null;
  const outputTokensMax = outputLimitFor(permit, asking);
  const { redact } = permit;
  assert(redact.length === 0 || route.body === "json", "only what is JSON passes to be redacted");
  // People approved it as it came: an option of ours could be refused, and the approval would be used up by that.
  const isUnmeasured = intent.stream && asked?.wantsUsage === false && !permit.isApproved;
  return {
    ...((isRenamed || isNamedHere) && permit.model !== null ? { model: permit.model } : {}),
    ...(outputTokensMax === null ? {} : { outputTokensMax }),
    ...(isUnmeasured && mayInject ? { injectUsage: true } : {}),
    ...(Object.keys(asked?.metadata ?? {}).length > 0 ? { stripMetadata: true } : {}),
    ...(redact.length === 0 ? {} : { redact }),
  };
}

/** The maximum to send: the one that the bound was built on, in the member that this upstream obeys. */
function outputLimitFor(
  permit: Permit,
  { route, asked }: Asking,
): { readonly field: string; readonly value: number } | null {
  const field = outputField(route);
  if (field === null) return null;
  const obeyed = route.operation === "chat" ? permit.upstream.outputLimitField : field;
  // An upstream of the older wire would not see the limit that its client set by the newer name.
  const restated = obeyed === field ? null : (asked?.demand.outputTokensMax ?? null);
  const value = permit.estimate.outputTokensMax ?? restated;
  return value === null ? null : { field: obeyed, value };
}
