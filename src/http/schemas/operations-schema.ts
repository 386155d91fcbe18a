/** What the routes for operators answer, and the list of images. */
import { z } from 'zod';

export const healthAnswer = z.looseObject({ status: z.literal('ok') }).meta({ id: 'Health' });

export const readyAnswer = z
  .looseObject({
    ready: z.boolean(),
    checks: z.record(z.string(), z.looseObject({ ok: z.boolean(), detail: z.string().optional() })),
  })
  .meta({ id: 'Readiness', description: 'Whether a run would be accepted now, and what stands in the way.' });

export const imagesAnswer = z
  .looseObject({
    images: z.array(
      z.looseObject({
        reference: z.string().meta({ description: 'The name to give as `image`.' }),
        id: z.string().meta({ description: 'Content-addressed id of what is run.' }),
        default: z.boolean().meta({ description: 'Whether a request that names no image gets this one.' }),
        python: z.string().optional().meta({ description: 'Version of Python, where the image says it.' }),
        packages: z.record(z.string(), z.string()).optional().meta({
          description: 'Versions of the Python packages beside the standard library, where the image says it.',
        }),
        labels: z.record(z.string(), z.string()),
        size_bytes: z.int().nonnegative(),
      }),
    ),
  })
  .meta({ id: 'ImageList' });

export const isolationAnswer = z
  .looseObject({
    isolated: z.boolean().meta({ description: 'Whether every guard held.' }),
    image: z.string(),
    runtime: z.string(),
    checked_at: z.iso.datetime(),
    checks: z.array(z.looseObject({ guard: z.string(), held: z.boolean(), observed: z.string() })),
  })
  .meta({ id: 'IsolationReport', description: 'What a probe inside a sandbox could not do, at most a minute ago.' });

export const metricsAnswer = z.string().meta({ description: 'Prometheus text exposition format.' });
