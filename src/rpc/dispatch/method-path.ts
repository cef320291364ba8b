import type { DescMethod } from "@bufbuild/protobuf";

const paths = new WeakMap<DescMethod, string>();

/** As calls name it: "/package.Service/Method". */
export function methodPath(method: DescMethod): string {
  let path = paths.get(method);
  if (path === undefined) paths.set(method, (path = `/${method.parent.typeName}/${method.name}`));
  return path;
}
