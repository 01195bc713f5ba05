/** The console's one style sheet: a phone first, light and dark as the person's system says. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #f6f7f9;
  --card: #ffffff;
  --ink: #16181d;
  --soft: #565d6b;
  --rule: #dfe3ea;
  --track: #e8ebf1;
  --accent: #3730a3;
  --accent-ink: #ffffff;
  --accent-soft: #eceafd;
  --reserved: #a5a0ee;
  --good: #14653a;
  --good-soft: #dcf3e5;
  --bad: #a31515;
  --bad-soft: #fde5e3;
  --warn: #7a4b00;
  --warn-soft: #fdf0d2;
  --busy: #0b5a86;
  --busy-soft: #dceffa;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #101216;
    --card: #181b21;
    --ink: #e9ebf0;
    --soft: #a3abb9;
    --rule: #2c313b;
    --track: #2a2f39;
    --accent: #a9a3ff;
    --accent-ink: #14121f;
    --accent-soft: #26233f;
    --reserved: #5a539c;
    --good: #7fd6a2;
    --good-soft: #14301f;
    --bad: #ff9d94;
    --bad-soft: #3c1a19;
    --warn: #f2c46b;
    --warn-soft: #372a10;
    --busy: #86cbf1;
    --busy-soft: #102c3d;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0;
  background: var(--paper);
  color: var(--ink);
  font: 400 0.9375rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1, h2, p, ul, ol, dl, dd, figure, pre, fieldset { margin: 0; padding: 0; }
ul, ol { list-style: none; }
fieldset { border: 0; min-width: 0; }
h2, p, li { overflow-wrap: anywhere; }
a { color: var(--accent); text-underline-offset: 0.27em; overflow-wrap: anywhere; }
code, pre { font-family: var(--mono); font-size: 0.8125rem; overflow-wrap: anywhere; }
small { color: var(--soft); font-size: 0.8125rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
main:focus { outline: none; }
.unseen {
  position: absolute; width: 1px; height: 1px; margin: -1px; padding: 0; border: 0;
  overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
.skip { position: absolute; left: 0.5rem; top: -4rem; z-index: 3; background: var(--card); padding: 0.5rem 1rem; border-radius: 6px; }
.skip:focus { top: 0.5rem; }

/* The frame */
.top {
  display: flex; align-items: center; justify-content: space-between; gap: 1rem;
  padding: 0.6rem 1rem; background: var(--card); border-bottom: 1px solid var(--rule);
}
.brand { display: inline-flex; flex: none; align-items: center; gap: 0.5rem; font-weight: 650; font-size: 1.0625rem; color: var(--ink); text-decoration: none; }
.mark { width: 1.4rem; height: 1.4rem; fill: none; stroke: var(--accent); stroke-width: 2.2; stroke-linecap: round; stroke-linejoin: round; }
.mark circle { fill: var(--accent); stroke: none; }
.who { display: flex; align-items: center; gap: 0.75rem; min-width: 0; }
.tenant { max-width: 11rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: var(--soft); font-size: 0.875rem; }
a.tenant { color: var(--accent); }
.side { background: var(--card); border-bottom: 1px solid var(--rule); }
.side ul { display: flex; flex-wrap: wrap; padding: 0.1rem 0.5rem; }
.side a { display: block; padding: 0.5rem 0.5rem 0.4rem; font-size: 0.875rem; color: var(--soft); text-decoration: none; white-space: nowrap; border-bottom: 2px solid transparent; }
.side a:hover { color: var(--ink); }
.side a:focus-visible { outline-offset: -2px; }
.side a[aria-current] { color: var(--ink); font-weight: 600; border-color: var(--accent); }
main { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1rem; align-content: start; padding: 1.1rem 1rem 4rem; max-width: 74rem; }
.head h1 { font-size: 1.375rem; line-height: 1.25; font-weight: 650; overflow-wrap: anywhere; display: flex; flex-wrap: wrap; gap: 0.35rem 0.6rem; align-items: center; }
.head h1 code { font-size: 1.125rem; }
.head .up { font-size: 0.875rem; color: var(--soft); margin-bottom: 0.2rem; }
.head .lead { color: var(--soft); margin-top: 0.25rem; max-width: 44rem; }
.note { color: var(--soft); font-size: 0.875rem; }
.more { font-size: 0.875rem; }
.none { color: var(--soft); }
.bad { color: var(--bad); font-weight: 600; }

/* Cards and what stands in them */
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 1rem; min-width: 0; }
.card > h2 { font-size: 0.9375rem; font-weight: 650; margin-bottom: 0.7rem; }
.card .note + *, .card .empty + *, .card > * + .note, .card > * + .more, .card > * + details, .card .facts + .list { margin-top: 0.6rem; }
.cards { display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.columns { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); }
.empty { color: var(--soft); max-width: 44rem; }
main > .empty { background: var(--card); border: 1px dashed var(--rule); border-radius: 10px; padding: 1.5rem 1rem; max-width: none; }
.tiles { display: grid; gap: 0.6rem; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.tiles li { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 0.7rem 0.9rem; display: grid; align-content: start; }
.tiles .name { color: var(--soft); font-size: 0.8125rem; }
.tiles strong { font-size: 1.375rem; line-height: 1.35; font-weight: 650; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.tiles .note { font-size: 0.8125rem; }
.types { display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }
.types .current { border-color: var(--accent); }
.types .facts { grid-template-columns: minmax(0, 1fr); gap: 0.15rem; margin-top: 0.6rem; }
.types .facts div { display: flex; justify-content: space-between; gap: 0 1rem; align-items: baseline; }
.types .figure { font-size: 1.375rem; line-height: 1.35; font-weight: 650; font-variant-numeric: tabular-nums; }
.intro { display: grid; gap: 0.7rem; max-width: 44rem; }
.badge { display: inline-block; padding: 0.05rem 0.5rem; border-radius: 99px; font-size: 0.75rem; line-height: 1.5; font-weight: 600; white-space: nowrap; background: var(--track); color: var(--ink); letter-spacing: 0; }
.badge.good { background: var(--good-soft); color: var(--good); }
.badge.bad { background: var(--bad-soft); color: var(--bad); }
.badge.warn { background: var(--warn-soft); color: var(--warn); }
.badge.busy { background: var(--busy-soft); color: var(--busy); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 9.5rem), 1fr)); gap: 0.7rem 1.25rem; }
main > .facts { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 1rem; }
.facts dt { color: var(--soft); font-size: 0.8125rem; }
.facts dd { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.flash, .problem { border-radius: 10px; padding: 0.75rem 1rem; border: 1px solid; }
.flash { background: var(--good-soft); color: var(--good); border-color: var(--good); }
.flash label { display: block; margin-top: 0.5rem; font-size: 0.875rem; }
.flash .secret { font-family: var(--mono); font-size: 0.8125rem; margin-top: 0.25rem; }
.problem { background: var(--bad-soft); color: var(--bad); border-color: var(--bad); overflow-wrap: anywhere; }
.problem.at { margin-bottom: 0.9rem; }
.plain { display: grid; gap: 0.25rem; }
.plain.small { font-size: 0.8125rem; color: var(--soft); gap: 0; }
.pager { text-align: center; }
.waiting li + li { margin-top: 0.4rem; }
.tabs { display: flex; flex-wrap: wrap; gap: 0.35rem; }
.card .tabs { margin-bottom: 0.7rem; }
.tabs a { padding: 0.25rem 0.75rem; border: 1px solid var(--rule); border-radius: 99px; text-decoration: none; color: var(--ink); background: var(--card); font-size: 0.875rem; }
.tabs a[aria-current] { background: var(--accent); border-color: var(--accent); color: var(--accent-ink); }

/* Tables: on a phone each row is a card */
table { border-collapse: collapse; width: 100%; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.list thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.list, .list tbody, .list tr, .list td { display: block; }
.list tr { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 0.55rem 0.9rem; }
.list tr + tr { margin-top: 0.6rem; }
.list tbody tr { display: flex; flex-wrap: wrap; gap: 0.1rem 1.1rem; align-items: baseline; }
.list td { max-width: 100%; overflow-wrap: anywhere; text-align: left; white-space: normal; font-size: 0.875rem; }
.list td::before { content: attr(data-title) " "; color: var(--soft); font-size: 0.8125rem; }
.list td:first-child { width: 100%; font-size: 0.9375rem; font-weight: 550; }
.list td:first-child::before, .list td[data-title=""]::before { content: none; }
.list td.blank { display: none; }
.card .list tr { background: none; border-width: 0 0 1px; border-radius: 0; padding: 0.5rem 0; }
.card .list tr:last-child { border-bottom: 0; padding-bottom: 0; }
.card .list tr + tr { margin-top: 0; }

/* Charts */
.plot { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 0.3rem 0.6rem; }
.plot svg { width: 100%; height: 10rem; overflow: visible; }
.y-axis { display: flex; flex-direction: column; justify-content: space-between; text-align: right; margin: -0.6em 0; }
.x-axis { grid-column: 2; display: flex; justify-content: space-between; }
.y-axis, .x-axis { color: var(--soft); font-size: 0.75rem; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--rule); stroke-width: 1; vector-effect: non-scaling-stroke; fill: none; }
.area { fill: var(--accent); opacity: 0.13; }
.line { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; vector-effect: non-scaling-stroke; }
.line.dot { stroke-width: 8; }
.hit { fill: transparent; }
.hit:hover { fill: var(--accent); opacity: 0.12; }
.trend details { margin-top: 0.6rem; }
.figures { max-width: 22rem; font-size: 0.875rem; }
.figures th { font-weight: 400; text-align: left; }
.figures thead th { color: var(--soft); font-size: 0.8125rem; }
.figures thead .number { text-align: right; }
.bars tr { display: grid; align-items: baseline; grid-template-columns: minmax(0, 1fr) auto; gap: 0 0.75rem; padding: 0.3rem 0; }
.bars th { text-align: left; font-weight: 400; overflow-wrap: anywhere; }
.bars td { display: contents; }
.bar { grid-column: 1 / -1; display: block; width: 100%; height: 0.45rem; margin-top: 0.15rem; }
.track { fill: var(--track); }
.fill { fill: var(--accent); }
.budget { display: block; width: 100%; height: 0.7rem; margin: 0.3rem 0; }
.budget .committed { fill: var(--accent); }
.budget .reserved { fill: var(--reserved); }
.budget.near .committed { fill: #b97800; }
.budget.near .reserved { fill: #e3b55c; }
.budget.full .committed { fill: #c93434; }
.budget.full .reserved { fill: #e99090; }
.budgets, .meters { display: grid; gap: 1rem; }
.budgets .name, .meters .name, .cards .name { overflow-wrap: anywhere; }
.name .badge { margin-left: 0.3rem; }
.split { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; font-size: 0.875rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.split strong { color: var(--ink); }
.split-facts { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; margin-top: 0.7rem; padding-top: 0.6rem; border-top: 1px solid var(--rule); font-size: 0.875rem; }
.split-facts dt { color: var(--soft); font-size: 0.8125rem; }
.split-facts dd { font-variant-numeric: tabular-nums; }
.key { display: inline-block; width: 0.65rem; height: 0.65rem; border-radius: 3px; margin-right: 0.35rem; background: var(--accent); }
.key.reserved { background: var(--reserved); }
.single { max-width: 30rem; margin-bottom: 1rem; }

/* A run's timeline */
.timeline { display: grid; gap: 0.9rem; margin-top: 0.7rem; }
.step > ol { display: grid; }
.step-name { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; }
.step-name span { color: var(--soft); font-size: 0.8125rem; font-variant-numeric: tabular-nums; }
.step-name + ol { border-left: 2px solid var(--rule); margin-left: 0.25rem; padding-left: 0.8rem; }
.attempt { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 0.1rem 0.75rem; padding: 0.45rem 0; }
.attempt + .attempt { border-top: 1px solid var(--rule); }
.attempt .what { overflow-wrap: anywhere; }
.attempt .reason { color: var(--bad); font-weight: 550; }
.attempt .which { grid-column: 1; color: var(--soft); font-size: 0.8125rem; }
.attempt .call { margin: 0.15rem 0 0; overflow-wrap: anywhere; }
.attempt .cost { grid-column: 2; grid-row: 1; text-align: right; font-variant-numeric: tabular-nums; font-size: 0.875rem; }
.attempt .timing { grid-column: 1 / -1; display: grid; grid-template-columns: 4.25rem minmax(0, 1fr) 4.25rem; gap: 0.6rem; align-items: center; color: var(--soft); font-size: 0.8125rem; font-variant-numeric: tabular-nums; }
.attempt .timing :last-child { text-align: right; }
.span { display: block; width: 100%; height: 0.55rem; }
.blocked .span .fill, .failed .span .fill { fill: var(--bad); }
.unknown .span .fill, .aborted .span .fill, .awaiting_approval .span .fill { fill: var(--warn); }
.why { display: grid; gap: 0.45rem; list-style: none; }
.why li { padding-left: 0.9rem; border-left: 2px solid var(--rule); overflow-wrap: anywhere; }
.why li:nth-child(2) { border-color: var(--accent); font-weight: 600; }
.reasons { display: grid; gap: 0.35rem; }
pre { background: var(--paper); border: 1px solid var(--rule); border-radius: 8px; padding: 0.75rem; white-space: pre-wrap; max-height: 34rem; overflow: auto; }
.diff span { display: block; }
.diff .added { background: var(--good-soft); color: var(--good); }
.diff .removed { background: var(--bad-soft); color: var(--bad); }

/* Forms */
input, select, textarea, button { font: inherit; color: inherit; }
input:not([type="checkbox"]), select, textarea {
  width: 100%; min-width: 0; background: var(--card); border: 1px solid #868d9b; border-radius: 7px; padding: 0.45rem 0.6rem; font-size: 1rem;
}
textarea { font-family: var(--mono); font-size: 0.8125rem; resize: vertical; }
input[type="checkbox"] { width: 1.1rem; height: 1.1rem; margin: 0.15rem 0 0; accent-color: var(--accent); flex: none; }
button { border: 1px solid transparent; border-radius: 7px; padding: 0.45rem 1rem; font-weight: 600; cursor: pointer; min-height: 2.5rem; }
button.main { background: var(--accent); color: var(--accent-ink); }
button.danger { background: none; color: var(--bad); border-color: var(--bad); }
button.quiet { background: none; border-color: var(--rule); font-weight: 500; }
button:hover { filter: brightness(1.08); text-decoration: underline; text-underline-offset: 0.15em; }
.top button { min-height: 2.1rem; padding: 0.2rem 0.7rem; font-size: 0.875rem; white-space: nowrap; }
.act { display: grid; gap: 0.9rem; justify-items: start; }
.act > .fields, .act > .field, .act > .checks, .act > details[open] { width: 100%; }
.fields { display: grid; gap: 0.9rem 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); align-items: start; }
.field { display: grid; gap: 0.2rem; }
.field > span, legend { font-size: 0.875rem; font-weight: 600; padding: 0; }
.checks { display: grid; gap: 0.4rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
.checks legend { margin-bottom: 0.3rem; }
.checks label, .check { display: flex; gap: 0.55rem; align-items: flex-start; }
.search { display: flex; gap: 0.5rem; max-width: 30rem; }
.search label { flex: 1; min-width: 0; }
.answers { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); margin-top: 0.6rem; }
.buttons { display: flex; flex-wrap: wrap; gap: 0.6rem 1rem; align-items: center; margin-top: 0.7rem; }
summary { cursor: pointer; color: var(--accent); font-size: 0.875rem; width: fit-content; padding: 0.15rem 0; }
details[open] > summary { margin-bottom: 0.4rem; }
.confirm > div { display: grid; gap: 0.7rem; border: 1px solid var(--rule); background: var(--card); border-radius: 10px; padding: 0.9rem 1rem; max-width: 36rem; }

/* Signing in */
.outside main { max-width: 26rem; margin: 0 auto; padding-top: 12vh; }
.sign-in { display: grid; gap: 0.9rem; background: var(--card); border: 1px solid var(--rule); border-radius: 14px; padding: 1.6rem 1.4rem; }
.sign-in h1 { font-size: 1.375rem; }
.sign-in .lead { color: var(--soft); }
.sign-in form { display: grid; gap: 0.9rem; }

@media (min-width: 46rem), print {
  .tiles { grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); }
  .list { display: table; }
  .list tbody { display: table-row-group; }
  .list thead { position: static; width: auto; height: auto; clip-path: none; display: table-header-group; }
  .list tbody tr, .card .list tr { display: table-row; background: none; }
  .list tr { display: table-row; background: none; border: 0; }
  .list td:first-child { width: auto; min-width: 9rem; font-weight: 400; }
  .list td, .list th, .list td:first-child { font-size: 0.875rem; display: table-cell; padding: 0.5rem 0.75rem; vertical-align: top; border-bottom: 1px solid var(--rule); }
  .list td::before { content: none; }
  .list td.blank { display: table-cell; }
  .list th { text-align: left; color: var(--soft); font-size: 0.8125rem; font-weight: 500; white-space: nowrap; }
  .list th.number, .list td.number { text-align: right; white-space: nowrap; }
  .list tbody tr:last-child td { border-bottom: 0; }
  main > .list { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; border-collapse: separate; border-spacing: 0; }
  .card .list th:first-child, .card .list td:first-child { padding-left: 0; }
  .card .list th:last-child, .card .list td:last-child { padding-right: 0; }
  .attempt { grid-template-columns: minmax(0, 1.2fr) minmax(0, 1fr) 9.5rem; align-items: baseline; }
  .attempt .which { grid-column: 1; grid-row: 2; }
  .attempt .timing { grid-column: 2; grid-row: 1; }
  .attempt .cost { grid-column: 3; grid-row: 1; }
}
@media (min-width: 62rem) {
  .inside { display: grid; grid-template: auto 1fr / 12.5rem minmax(0, 1fr); min-height: 100vh; }
  .top { grid-column: 1 / -1; padding: 0.6rem 1.5rem; }
  .side { border-bottom: 0; border-right: 1px solid var(--rule); padding: 1rem 0.75rem; }
  .side ul { display: grid; gap: 0.15rem; padding: 0; }
  .side a { padding: 0.4rem 0.75rem; border: 0; border-radius: 7px; font-size: 0.9375rem; }
  .plot svg { height: 15rem; }
  .side a[aria-current] { background: var(--accent-soft); color: var(--accent); }
  main { padding: 1.5rem 2rem 4rem; gap: 1.25rem; width: 100%; }
  .columns { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 1.25rem; }
}

/* On paper: all of a record, and nothing that is to be clicked */
@media print {
  :root { color-scheme: light; }
  .top form, .side, .skip, .tabs, .pager, .search, .act, .confirm, .card:has(> .act) { display: none; }
  .inside, main, .columns { display: block; }
  main { padding: 0; max-width: none; }
  main > * + *, .columns > * + * { margin-top: 1rem; }
  .columns > * { margin-bottom: 1rem; }
  pre { max-height: none; overflow: visible; }
  tr, .tiles li, .budgets li, .meters li { break-inside: avoid; }
}
`;
