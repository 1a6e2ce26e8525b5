import { palette } from './palette.ts';

export const style = `${palette}
* {
  box-sizing: border-box;
}

[hidden] {
  display: none !important;
}

.unseen {
  position: absolute;
  width: 1px;
  height: 1px;
  margin: -1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

body {
  max-width: 46rem;
  min-height: 100vh;
  margin: 0 auto;
  padding: clamp(1.5rem, 6vw, 4rem) clamp(1rem, 4vw, 2rem) 4rem;
  background: var(--page);
  color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
}

html {
  background: var(--page);
}

h1,
h2,
p,
ul {
  margin: 0;
  padding: 0;
}

h1 {
  font-size: clamp(1.75rem, 5vw, 2.25rem);
  font-weight: 700;
  line-height: 1.2;
  letter-spacing: -0.02em;
  text-wrap: balance;
}

h2 {
  font-size: 1.125rem;
  font-weight: 600;
  line-height: 1.3;
}

code {
  padding: 0.1em 0.35em;
  border-radius: 0.35em;
  background: var(--tint);
  font-size: 0.9em;
  overflow-wrap: anywhere;
}

.lead {
  margin-top: 0.5rem;
  color: var(--soft);
  font-size: 1.0625rem;
  text-wrap: balance;
}

.drop {
  display: grid;
  justify-items: center;
  gap: 1rem;
  margin-top: 2rem;
  padding: clamp(1.75rem, 6vw, 3rem) 1rem;
  border: 2px dashed var(--edge);
  border-radius: 1.25rem;
  background: var(--card);
  text-align: center;
  transition: border-color 150ms, background-color 150ms;
}

.drop svg {
  fill: none;
  stroke: var(--accent);
  stroke-width: 3;
  stroke-linecap: round;
  stroke-linejoin: round;
  transition: transform 200ms;
}

.drop.over {
  border-style: solid;
  border-color: var(--accent);
  background: var(--tint);
}

.drop.over svg {
  transform: translateY(-4px);
}

/* With a list below it, it makes room. */
.drop.compact {
  grid-template-columns: auto 1fr auto;
  align-items: center;
  justify-items: start;
  padding: 1.25rem 1.5rem;
  text-align: start;
}

.drop.compact svg {
  width: 2.25rem;
  height: 2.25rem;
}

.drop.compact .hint {
  display: none;
}

.hint,
.summary,
.size,
.state,
.percent {
  color: var(--soft);
}

.hint,
.summary,
.state,
.note,
.percent {
  font-size: 0.9375rem;
}

.choose {
  position: relative;
}

.button {
  display: inline-flex;
  align-items: center;
  justify-content: center;
  min-height: 2.75rem;
  padding: 0.5rem 1.25rem;
  border: 1px solid var(--edge);
  border-radius: 0.75rem;
  background: var(--card);
  color: var(--text);
  font: inherit;
  font-weight: 600;
  line-height: 1.2;
  text-decoration: none;
  cursor: pointer;
  transition: background-color 120ms, border-color 120ms;
}

.button:hover {
  border-color: var(--accent);
  background: var(--tint);
}

.primary {
  border-color: transparent;
  background: var(--accent);
  color: var(--accent-text);
}

.primary:hover {
  border-color: transparent;
  background: var(--accent-hover);
}

.small {
  min-height: 2.25rem;
  padding: 0.25rem 0.8rem;
  border-radius: 0.625rem;
  font-size: 0.9375rem;
}

.quiet {
  border-color: transparent;
  background: transparent;
  color: var(--soft);
}

.quiet:hover {
  color: var(--text);
}

:focus-visible,
#files:focus-visible + .button {
  outline: 3px solid var(--accent);
  outline-offset: 3px;
}

.banner {
  margin-top: 1.25rem;
  padding: 0.75rem 1rem;
  border-left: 4px solid var(--warn);
  border-radius: 0.5rem;
  background: var(--warn-tint);
  color: var(--warn);
  font-weight: 600;
}

.notice {
  margin-top: 1.25rem;
  padding: 0.75rem 1rem;
  border-left: 4px solid var(--accent);
  border-radius: 0.5rem;
  background: var(--tint);
  overflow-wrap: anywhere;
}

#uploads {
  margin-top: 2.5rem;
}

.bar .button {
  margin-inline-end: -0.5rem;
}

.bar {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 0.25rem 0.75rem;
  min-height: 2.75rem;
}

.summary {
  flex: 1;
  min-width: 8rem;
  font-variant-numeric: tabular-nums;
}

.list {
  display: grid;
  gap: 0.75rem;
  margin-top: 0.75rem;
  list-style: none;
}

.row {
  display: grid;
  grid-template-columns: minmax(0, 1fr) auto;
  align-items: center;
  gap: 0.625rem 1rem;
  padding: 1rem 1.25rem;
  border: 1px solid var(--line);
  border-radius: 1rem;
  background: var(--card);
  box-shadow: var(--shadow);
}

.title {
  min-width: 0;
  overflow-wrap: anywhere;
}

.name {
  font-weight: 600;
}

.size {
  margin-left: 0.25rem;
  font-size: 0.9375rem;
  white-space: nowrap;
}

.percent,
.state {
  font-variant-numeric: tabular-nums;
}

.percent {
  text-align: end;
}

.row progress,
.note {
  grid-column: 1 / -1;
}

.actions {
  display: flex;
  flex-wrap: wrap;
  justify-content: flex-end;
  gap: 0.375rem;
  margin-right: -0.5rem;
}

.note {
  color: var(--warn);
}

progress {
  appearance: none;
  display: block;
  width: 100%;
  height: 0.5rem;
  border: 0;
  border-radius: 1rem;
  background: var(--track);
  overflow: hidden;
  color: var(--bar, var(--accent));
}

progress::-webkit-progress-bar {
  background: var(--track);
}

progress::-webkit-progress-value {
  border-radius: 1rem;
  background: var(--bar, var(--accent));
  transition: width 200ms linear;
}

progress::-moz-progress-bar {
  border-radius: 1rem;
  background: var(--bar, var(--accent));
}

progress:indeterminate {
  background: linear-gradient(90deg, var(--track) 30%, var(--edge) 50%, var(--track) 70%) 0 / 200% 100%;
  animation: passing 1.6s linear infinite;
}

progress:indeterminate::-webkit-progress-bar {
  background: transparent;
}

progress:indeterminate::-moz-progress-bar {
  background: transparent;
}

@keyframes passing {
  from {
    background-position: 150% 0;
  }
  to {
    background-position: -50% 0;
  }
}

[data-phase="done"] progress,
[data-phase="done"] .percent {
  display: none;
}

[data-phase="done"] .title {
  grid-column: 1 / -1;
}

[data-phase="done"] .state {
  color: var(--good);
  font-weight: 600;
}

[data-phase="done"] .state::before {
  content: "✓ " / "";
}

[data-phase="away"],
[data-phase="lacking"] {
  --bar: var(--warn);
}

[data-phase="away"] .state,
[data-phase="lacking"] .state {
  color: var(--warn);
  font-weight: 600;
}

[data-phase="failed"] {
  --bar: var(--bad);
}

[data-phase="failed"] .state {
  color: var(--bad);
  font-weight: 600;
  overflow-wrap: anywhere;
}

[data-phase="paused"],
[data-phase="queued"],
[data-phase="keeping"] {
  --bar: var(--edge);
}

@media (max-width: 34rem) {
  .drop.compact {
    grid-template-columns: auto 1fr;
    padding: 1rem;
  }

  .drop.compact .choose {
    grid-column: 1 / -1;
    display: grid;
    justify-self: stretch;
  }

  .bar .button {
    margin-inline-start: auto;
  }

  .small {
    padding-inline: 0.6rem;
    font-size: 0.875rem;
  }

  .row {
    padding: 1rem;
  }

  .state,
  .actions {
    grid-column: 1 / -1;
  }

  .actions {
    justify-content: flex-start;
    margin: 0 0 0 -0.125rem;
  }
}

@media (prefers-reduced-motion: reduce) {
  *,
  ::before,
  ::after,
  progress::-webkit-progress-value {
    animation: none !important;
    transition: none !important;
  }

  .drop.over svg {
    transform: none;
  }
}

@media (forced-colors: active) {
  progress {
    appearance: auto;
  }
}
`;
