"""What `transformer plan` prints."""

from transformer.runs.errors import format_bytes


def render(record: dict) -> str:
  """A record of `plan` as text."""
  device, batch, flops = record["device"], record["batch"], record["flops"]
  sizes, seconds = record["bytes"], record["seconds"]
  lines = [
    f"mesh          {record['mesh']}, {record['devices']} x {device['name']}, "
    f"{record['precision']}",
    f"batch         {batch['rows']:,} rows of {batch['source']} and {batch['target']} "
    f"slots, {batch['tokens']:,} target tokens, in {batch['parts']} part(s)",
    f"parameters    {record['parameters']:,}",
    f"model FLOPs   {flops['token']:.4g} a target token, {flops['step']:.4g} a step "
    f"(executed: {flops['executed']:.4g})",
    "bytes a device",
  ]
  for name in ("parameters", "optimizer", "gradients", "activations", "batch"):
    lines.append(f"  {name:<13}{format_bytes(sizes[name]):>12}")
  verdict = "fits" if record["fits"] else "DOES NOT FIT"
  lines.append(
    f"  {'total':<13}{format_bytes(sizes['total']):>12}  {verdict} in "
    f"{format_bytes(device['memory']).strip()} ({record['memory_share']:.0%})"
  )
  lines.append("collectives a step, per device")
  for row in record["collectives"]:
    lines.append(
      f"  {row['kind']:<19}{row['times']:>6} x over {row['devices']:>3} devices, "
      f"{format_bytes(row['bytes'])}, {format_bytes(row['sent'])} sent"
    )
  if not record["collectives"]:
    lines.append("  none")
  lines += [
    f"time at best  {seconds['step'] * 1e3:,.1f} ms a step (compute "
    f"{seconds['compute'] * 1e3:,.1f}, memory {seconds['memory'] * 1e3:,.1f}, network "
    f"{seconds['network'] * 1e3:,.1f}, all at once)",
    f"              {record['tokens_per_second']:,.0f} target tokens/s, MFU at most "
    f"{record['mfu']:.0%}",
    f"peak figures  {device['source']}",
  ]
  if not record["fits"]:
    remedy = record["remedy"]
    would_fit = "nothing tried (chunked loss, remat, fsdp, accumulation)"
    if remedy:
      would_fit = f"{' '.join(remedy['settings'])}: {format_bytes(remedy['bytes'])}"
    lines.append(f"would fit     {would_fit}")
  lines += [f"note          {note}" for note in record["notes"]]
  lines.append(f"compiled in {record['compile_seconds']:.0f} s; nothing was run")
  return "\n".join(lines)
