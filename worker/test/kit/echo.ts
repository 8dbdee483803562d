/** A Worker that makes one call of a binding and answers with what it gave. */

interface Call {
  readonly binding: string;
  readonly method: string;
  readonly args: readonly unknown[];
}

type Methods = Record<string, (...args: unknown[]) => Promise<unknown>>;

export default {
  async fetch(request: Request, env: Record<string, Methods | string>): Promise<Response> {
    const { binding, method, args } = await request.json<Call>();
    const bound = env[binding];
    if (typeof bound !== "object") {
      return Response.json({ value: bound ?? null });
    }
    try {
      return Response.json({ value: (await bound[method]?.(...args)) ?? null });
    } catch (error) {
      return Response.json({ error: (error as Error).message });
    }
  },
};
