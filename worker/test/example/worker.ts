/** A sync service in miniature: it writes the chunks of a file, reads and removes them. */

import { type FileVector, UsageError } from "../../src/client";
import { type Env, openStore } from "../../src/migration";

export default {
  async fetch(request, env): Promise<Response> {
    const store = openStore(env);
    const fileId = decodeURIComponent(new URL(request.url).pathname.slice(1));
    try {
      switch (request.method) {
        case "PUT":
          await store.upsertVectors(await request.json<FileVector[]>(), { wholeFiles: true });
          break;
        case "DELETE":
          await store.deleteVectorsByFileId(fileId);
      }
      const vectors = await store.getVectorsByFileId(fileId);
      return Response.json({ ids: vectors.map(({ id }) => id), total: await store.countVectors() });
    } catch (error) {
      if (error instanceof UsageError) {
        return Response.json({ error: error.message }, { status: 400 });
      }
      throw error;
    }
  },
} satisfies ExportedHandler<Env>;
