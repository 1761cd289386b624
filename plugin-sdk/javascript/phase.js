// What lasts as long as a phase.

let open = [];

/** Has a handle disposed when the phase ends, unless the plugin does that: handles that are left over wear out the instance. */
export function untilPhaseEnds(disposable) {
  open.push(disposable);
}

/** The phase has ended. */
export function endPhase() {
  if (open.length === 0) return;
  const left = open;
  open = [];
  for (const one of left) one[Symbol.dispose]();
}
