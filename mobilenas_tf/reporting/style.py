"""The page's style sheet: colours for light, dark and paper, text sizes, layout."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f4f6f9; --panel: #ffffff; --band: #f4f6fa; --line: #dfe4ec;
  --text: #1b2330; --soft: #5b6779; --faint: #98a3b3; --accent: #2b62c9;
  --c1: #2b62c9; --c2: #d9711c; --c3: #12926f; --c4: #a445b2; --c5: #c23b54;
  --c6: #75808f; --right: #2b62c9; --wrong: #d0463b; --cost: #8793a5;
  --on-color: #ffffff; --shadow: 0 1px 2px #1b233014, 0 4px 14px #1b23300d;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #0e1217; --panel: #171d25; --band: #1d242e; --line: #2c3541;
    --text: #e6eaf0; --soft: #a3afbf; --faint: #6d7a8b; --accent: #7aa7ff;
    --c1: #6c9dfa; --c2: #f29a4c; --c3: #3cc79d; --c4: #d184dd; --c5: #f07a8e;
    --c6: #97a3b3; --right: #6c9dfa; --wrong: #f0746a; --cost: #77859a;
    --on-color: #0e1217; --shadow: none;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
    "Liberation Sans", Arial, sans-serif;
}
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
header h1 {
  margin: 0; font-size: 30px; line-height: 1.2; letter-spacing: -.01em;
  overflow-wrap: anywhere;
}
header p { margin: 6px 0 0; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 14px; }
nav a { color: var(--accent); text-decoration: none; font-size: 14px; }
nav a:hover { text-decoration: underline; }
h2 { margin: 40px 0 6px; font-size: 21px; letter-spacing: -.005em; }
h3 { margin: 0 0 8px; font-size: 15px; }
section > p { margin-bottom: 0; color: var(--soft); max-width: 80ch; }
.cards {
  display: grid; gap: 12px; margin-top: 20px;
  grid-template-columns: repeat(auto-fill, minmax(168px, 1fr));
}
.card, figure, .panel, details {
  background: var(--panel); border: 1px solid var(--line); border-radius: 12px;
  box-shadow: var(--shadow);
}
.card { padding: 14px 16px; }
.card span { display: block; color: var(--soft); font-size: 13px; }
.card b {
  display: block; font-size: 25px; line-height: 1.3; letter-spacing: -.015em;
  font-variant-numeric: tabular-nums; white-space: nowrap;
}
.grid { display: grid; gap: 14px; }
.large { grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); }
.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 230px), 1fr)); }
.beside { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
.panel { padding: 14px 16px; min-width: 0; }
.beside > * { flex: 1 1 380px; }
.beside > .panel { flex: 100 1 460px; }
figure { margin: 0; padding: 14px 16px; min-width: 0; break-inside: avoid; }
section > * + * { margin-top: 14px; }
section > h2 + * { margin-top: 10px; }
figcaption {
  display: flex; flex-wrap: wrap; gap: 2px 16px; align-items: center;
  margin-bottom: 8px; font-size: 13px; color: var(--soft);
}
figcaption b { font-size: 15px; color: var(--text); margin-right: auto; }
.network figcaption b { flex-basis: 100%; }
.scroll { overflow-x: auto; }
.scroll img { display: block; width: 100%; min-width: 720px; border-radius: 6px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
.network svg, .wide svg { min-width: 820px; }
.key { display: inline-flex; align-items: center; gap: 6px; white-space: nowrap; }
.key i { width: 18px; height: 0; border-top: 3px solid var(--c, var(--soft)); }
.key i.dashed { border-top-style: dashed; border-top-width: 2px; }
.key i.limit { border-top: 2px dashed var(--wrong); }
.key i.axis { border-top: 1.5px solid var(--soft); }
.key i.arc { border-color: var(--arc); }
.key i.stride {
  width: 20px; height: 13px; border: 1px solid var(--soft); border-radius: 7px;
}
.key i.kept, .key i.possible, .key i.right, .key i.wrong, .key i.solid {
  width: 14px; height: 11px; border: 1px solid var(--c); border-radius: 2px;
  background: var(--c);
}
.key i.possible {
  background: color-mix(in srgb, var(--c) 14%, transparent);
  border-color: color-mix(in srgb, var(--c) 45%, transparent);
}
.key i.possible.ghost { background: none; border: 1px dashed var(--faint); }
.key i.disc {
  width: 10px; height: 10px; border: 2px solid var(--soft); border-radius: 50%;
  background: var(--soft);
}
.key i.hollow { background: none; }
.c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); }
.kernel1, .layer, .output { --c: var(--c6); }
.kernel3 { --c: var(--c1); } .kernel5 { --c: var(--c3); } .kernel7 { --c: var(--c2); }
.kernel9 { --c: var(--c5); } .squeeze { --c: var(--c4); }
.right { --c: var(--right); } .wrong { --c: var(--wrong); }
svg, .key { --arc: var(--soft); --c: var(--c6); }
svg text {
  font-size: 12px; fill: var(--text); font-variant-numeric: tabular-nums;
}
svg .tick { font-size: 11.5px; fill: var(--soft); }
svg .heading { font-weight: 600; }
svg .name, svg .count { font-size: 12px; }
svg .faint { fill: var(--faint); }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .gridline { stroke: var(--line); } svg .axis { stroke: var(--soft); }
svg .limit { stroke: var(--wrong); stroke-width: 1.5; stroke-dasharray: 6 4; }
svg .curve { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
svg .curve.dashed { stroke-width: 1.5; stroke-dasharray: 5 4; }
svg .dot { fill: var(--c); }
svg .hover rect { fill: transparent; }
svg .hover line { stroke: var(--soft); opacity: 0; }
svg .hover:hover line { opacity: .6; }
svg .point { fill: var(--c); stroke: var(--c); stroke-width: 2; }
svg .point.hollow { fill: var(--panel); }
svg .link { stroke: var(--c); stroke-width: 1.5; opacity: .5; }
svg .label { font-size: 12px; }
svg .bar { fill: var(--c); opacity: .75; }
svg .band { fill: var(--band); stroke: none; }
svg .possible {
  fill: var(--c); fill-opacity: .13; stroke: var(--c); stroke-opacity: .38;
}
svg .possible.ghost {
  fill: none; stroke: var(--faint); stroke-opacity: .9; stroke-dasharray: 3 3;
}
svg .kept { fill: var(--c); }
svg .kept.output { fill-opacity: .6; }
svg .trunk { stroke: var(--arc); stroke-width: 2; fill: none; }
svg .trunk.ghost { stroke: var(--faint); stroke-dasharray: 3 4; }
svg .node { fill: var(--soft); }
svg .node.ghost { fill: var(--band); stroke: var(--faint); stroke-dasharray: 2 2; }
svg rect.stride { fill: var(--panel); stroke: var(--soft); }
svg text.stride { font-size: 11px; font-weight: 600; }
svg .cost { fill: var(--cost); }
svg .empty { fill: var(--band); }
svg .right, svg .wrong { fill: var(--c); }
svg .on-color { fill: var(--on-color); font-weight: 600; }
svg .cell.small { font-size: 10px; }
table { border-collapse: collapse; font-size: 14px; width: 100%; }
th, td { padding: 7px 12px; text-align: left; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 600; font-size: 13px; }
th.number, td.number { text-align: right; }
td { font-variant-numeric: tabular-nums; }
thead th, td.number { white-space: nowrap; }
tbody td:first-child { min-width: 110px; }
tr.highlighted td { font-weight: 600; }
.facts th {
  width: 1%; min-width: 150px; color: var(--soft); font-weight: 500;
  vertical-align: top;
}
.facts td { overflow-wrap: anywhere; }
.facts tr:first-child > * { border-top: 0; }
details { padding: 0 16px; }
summary { cursor: pointer; padding: 12px 0; font-weight: 600; }
details[open] { padding-bottom: 12px; }
footer { margin-top: 36px; color: var(--faint); font-size: 13px; }
@media (max-width: 560px) {
  main { padding: 18px 12px 40px; }
  header h1 { font-size: 24px; }
  figure, .panel { padding: 12px 10px; }
  .cards { grid-template-columns: repeat(auto-fill, minmax(138px, 1fr)); }
  .card b { font-size: 21px; }
}
@media print {
  @page { margin: 12mm; }
  body { background: none; font-size: 12px; print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  h2, h3, figcaption { break-after: avoid; }
  .card, .panel, tr { break-inside: avoid; box-shadow: none; }
  .network svg, .wide svg, .scroll img { min-width: 0; }
  .cards { grid-template-columns: repeat(3, 1fr); }
  .large { grid-template-columns: repeat(2, 1fr); }
  .small { grid-template-columns: repeat(4, 1fr); }
  .scroll { overflow: visible; }
  table, thead th { font-size: 10px; white-space: normal; }
  th, td { padding: 3px 5px; }
  details::details-content { content-visibility: visible; }
  h2 { margin-top: 24px; }
}
"""
