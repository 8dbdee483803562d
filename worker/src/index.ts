/** A Worker with the store of the migration. Put your own handlers beside this one. */

import { type Env, openStore } from "./migration";

export default {
  /** For a cron trigger: put the counter right when nothing else writes. */
  async scheduled(_, env): Promise<void> {
    await openStore(env).refreshCounter();
  },
} satisfies ExportedHandler<Env>;
