/**
 * A deadline for what comes over a socket.
 *
 * A process that stood still finds its timers over before it has read its sockets.
 * What has arrived by then is heard first, so that a pause of ours is not taken for
 * the silence of somebody else.
 */

/**
 * Calls `onOver` after `ms` milliseconds and one look at the sockets.
 * @returns what keeps it from being called.
 */
export function startDeadline(ms: number, onOver: () => void): () => void {
  let immediate: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    immediate = setImmediate(onOver);
  }, ms);
  return () => {
    clearTimeout(timer);
    clearImmediate(immediate);
  };
}
