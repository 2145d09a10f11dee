import { z } from 'zod'

/** What is said of an environment's provisioning key: each check that was made, and whether all of them passed. */
export const verification = z
  .object({
    /** `<app>/<environment>@<sequence>`. */
    subject: z.string(),
    passed: z.boolean(),
    checks: z.array(z.object({ name: z.string(), passed: z.boolean(), detail: z.string() })).min(1),
  })
  .meta({ id: 'Verification' })
