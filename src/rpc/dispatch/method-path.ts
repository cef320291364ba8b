import type { DescMethod } from "@bufbuild/protobuf";

const paths = new WeakMap<DescMethod, string>();

/** The path of a method in calls: "/package.Service/Method". */
export function methodPath(method: DescMethod): string {
  let path = paths.get(method);
  if (path === undefined) paths.set(method, (path = `/${method.parent.typeName}/${method.name}`));
  return path;
}
