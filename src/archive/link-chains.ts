/**
 * Follows every symbolic link of a project, through all links on its way, and
 * refuses the project if one leaves the root or never arrives.
 *
 * Judging the text of a target is not enough: `c/up/../..` is harmless until `up`
 * is a link that climbs (CVE-2026-26960). A target may be missing: the program may
 * create it, and what does not exist is taken for a directory.
 *
 * Runs once, over the final tree, because a link may be stored before what it
 * points to. Work is bounded whatever the links are.
 */
import type { ServiceError } from '../domain/errors.ts';
import { refuseArchive, refuseEntry } from './refusal.ts';
import type { TreeNode } from './project-tree.ts';

/** Linux gives up at the same number (MAXSYMLINKS). */
const LINKS_ON_THE_WAY = 40;
/** Components looked up for all links of a project together. */
const STEPS = 1_000_000;

/** Where a path arrives: a node of the tree, or some levels of missing names below one. */
interface Arrival {
  readonly node: TreeNode;
  readonly missingLevels: number;
  /** Links followed, itself included. */
  readonly links: number;
}

/** Throws `link_escape` or `link_loop`, naming the first link at fault in archive order. */
export function checkLinkChains(links: readonly TreeNode[]): void {
  const arrivals = new Map<TreeNode, Arrival | 'on the way'>();
  let steps = 0;

  const follow = (link: TreeNode, depth: number): Arrival => {
    const known = arrivals.get(link);
    if (known === 'on the way' || depth > LINKS_ON_THE_WAY) throw loop(link);
    if (known !== undefined) return known;
    arrivals.set(link, 'on the way');

    let node = link.parent as TreeNode;
    let missingLevels = 0;
    let followed = 1;
    steps += link.target.length;
    if (steps > STEPS) throw refuseArchive('link_loop', 'The symbolic links of the project take too long to follow.');
    for (const name of link.target) {
      if (name === '..') {
        if (missingLevels > 0) missingLevels--;
        else if (node.parent !== undefined) node = node.parent;
        else throw refuseEntry('link_escape', link.path, 'links to a path outside the project');
        continue;
      }
      const child: TreeNode | undefined = missingLevels > 0 ? undefined : node.children?.get(name);
      if (child === undefined) {
        missingLevels++;
      } else if (child.kind === 'symlink') {
        const arrival = follow(child, depth + 1);
        ({ node, missingLevels } = arrival);
        followed += arrival.links;
        if (followed > LINKS_ON_THE_WAY) throw loop(link);
      } else {
        node = child;
      }
    }
    const arrival = { node, missingLevels, links: followed };
    arrivals.set(link, arrival);
    return arrival;
  };

  for (const link of links) follow(link, 1);
}

function loop(link: TreeNode): ServiceError {
  return refuseEntry(
    'link_loop',
    link.path,
    `is a symbolic link that needs more than ${LINKS_ON_THE_WAY} links to follow`,
  );
}
