# Turns the facts and samples of one bench/run into its reports. Input: lines "name<TAB>value", then lines
# "round<TAB>machine<TAB>workload<TAB>seconds<TAB>result". -v format=table|json|page; for page, the last input file is
# the page's template, where @TABLE@, @WORKLOADS@, @LOSSES@, @COSTS@ and the facts' names stand for what belongs there.

BEGIN {
  FS = "\t"
  AddRow("boot", "boot to shell", "from the start of the process to the first line of the script that init runs")
  AddRow("shell-loop-20000", "shell loop, 20,000 rounds", "`ash` counts: interpreter code, no system calls")
  AddRow("fork-exec-200", "200 × fork + exec", "`/bin/true`, 200 times: new address spaces, page faults, system calls")
  AddRow("md5sum-64MiB", "md5sum of 64 MiB", "integer arithmetic, fed through a pipe in 4 KiB pieces")
  AddRow("pipe-64MiB", "64 MiB through a pipe", "the kernel copies; system calls and context switches")
  AddRow("line-writes-100000", "100,000 lines through a pipe", "one `write` per line: system calls, context switches")
  AddRow("gzip-3MiB", "gzip, gunzip of 3 MiB", "integer code with tables; two processes at a time")
  AddRow("awk-300000", "awk, 300,000 divisions", "x87 floating point in an interpreter")
  AddRow("sort-300000", "sort of 300,000 numbers", "comparisons by call through a pointer, `strtod`, memory")
}

FILENAME != last_file { last_file = FILENAME; ++file_number }
file_number == 1 { facts[$1] = $2; fact_order[++fact_count] = $1 }
file_number == 2 { AddSample($1, $2, $3, $4) }
file_number == 3 { PrintTemplateLine($0) }

END {
  if (format == "table") printf "%s", Table()
  if (format == "json") PrintJson()
}

function AddRow(name, heading, what) {
  row_names[++row_count] = name
  title[name] = heading
  stresses[name] = what
}

function AddSample(round, machine, name, seconds) {
  if (!(name in title)) AddRow(name, name, "")
  samples[machine, name] = samples[machine, name] seconds " "
  at_round[machine, name, round] = seconds
}

# Sorts the numbers in `list` and leaves median, lowest and highest in summary[]. Returns how many there are.
function Summarise(list, summary,   values, count, i, j, value) {
  count = split(list, values, " ")
  if (count == 0) return 0
  for (i = 2; i <= count; i++) {
    value = values[i] + 0
    for (j = i - 1; j >= 1 && values[j] + 0 > value; j--) values[j + 1] = values[j]
    values[j + 1] = value
  }
  i = int((count + 1) / 2)
  summary["median"] = count % 2 ? values[i] + 0 : (values[i] + values[i + 1]) / 2
  summary["low"] = values[1] + 0
  summary["high"] = values[count] + 0
  return count
}

# One ratio per round: what slows the whole machine for a while slows both halves of it.
function Ratios(above, below, name,   list, round) {
  list = ""
  for (round = 1; round <= facts["runs"]; round++) {
    if (at_round[below, name, round] > 0 && at_round[above, name, round] != "") {
      list = list at_round[above, name, round] / at_round[below, name, round] " "
    }
  }
  return list
}

function Cell(list, pattern,   s) {
  if (!Summarise(list, s)) return "–"
  return sprintf(pattern " (" pattern "–" pattern ")", s["median"], s["low"], s["high"])
}

function Table(   text, i, name) {
  text = "| workload | ring3, s | QEMU TCG, s | QEMU / ring3 | native, s | ring3 / native |\n"
  text = text "|---|---:|---:|---:|---:|---:|\n"
  for (i = 1; i <= row_count; i++) {
    name = row_names[i]
    text = text "| " title[name] " | " Cell(samples["ring3", name], "%.2f") " | " Cell(samples["qemu", name], "%.2f") \
      " | " Cell(Ratios("qemu", "ring3", name), "%.2f") " | " Cell(samples["native", name], "%.3f") \
      " | " Cell(Ratios("ring3", "native", name), "%.2f") " |\n"
  }
  return text
}

function Workloads(   text, i, name) {
  text = ""
  for (i = 1; i <= row_count; i++) {
    name = row_names[i]
    text = text "- **" title[name] "**: " stresses[name] ".\n"
  }
  return text
}

# Rows whose median ratio, or worst round, is not in ring3's favour.
function Losses(   text, i, name, s) {
  text = ""
  for (i = 1; i <= row_count; i++) {
    name = row_names[i]
    if (!Summarise(Ratios("qemu", "ring3", name), s) || s["low"] > 1) continue
    text = text sprintf("- %s: %s in this run (QEMU / ring3 %.2f, rounds from %.2f to %.2f).\n", title[name],
                        s["median"] <= 1 ? "QEMU was faster" : "ring3 was faster, but not in every round", s["median"],
                        s["low"], s["high"])
  }
  return text != "" ? text : "In this run ring3 was faster than QEMU's TCG in every row and every round.\n"
}

# Rows that cost more than native execution does by half, the dearest first.
function Costs(   text, i, name, s, best, done) {
  text = ""
  for (;;) {
    best = ""
    for (i = 1; i <= row_count; i++) {
      name = row_names[i]
      if (done[name] || !Summarise(Ratios("ring3", "native", name), s) || s["median"] < 1.5) continue
      if (best == "" || s["median"] > best_ratio) { best = name; best_ratio = s["median"] }
    }
    if (best == "") break
    done[best] = 1
    text = text sprintf("- %s: %.1f times native.\n", title[best], best_ratio)
  }
  return text != "" ? text : "No row took more than 1.5 times the native time in this run.\n"
}

function PrintTemplateLine(line,   i) {
  if (line == "@TABLE@") { printf "%s", Table(); return }
  if (line == "@WORKLOADS@") { printf "%s", Workloads(); return }
  if (line == "@LOSSES@") { printf "%s", Losses(); return }
  if (line == "@COSTS@") { printf "%s", Costs(); return }
  for (i = 1; i <= fact_count; i++) gsub("@" toupper(fact_order[i]) "@", Escape(facts[fact_order[i]], "&"), line)
  print line
}

# A backslash before each `special` and each backslash.
function Escape(text, special,   out, i, c) {
  out = ""
  for (i = 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    out = out (c == special || c == "\\" ? "\\" : "") c
  }
  return out
}

function JsonSummary(list,   s) {
  if (!Summarise(list, s)) return "null"
  return sprintf("{\"median\": %.4f, \"low\": %.4f, \"high\": %.4f}", s["median"], s["low"], s["high"])
}

function JsonSamples(list) {
  gsub(/ $/, "", list)
  gsub(/ /, ", ", list)
  return "[" list "]"
}

function PrintJson(   i, m, name, machines, count) {
  count = split("ring3 qemu native", machines, " ")
  print "{"
  for (i = 1; i <= fact_count; i++) {
    printf "  \"%s\": \"%s\",\n", fact_order[i], Escape(facts[fact_order[i]], "\"")
  }
  print "  \"workloads\": {"
  for (i = 1; i <= row_count; i++) {
    name = row_names[i]
    printf "    \"%s\": {\n", name
    for (m = 1; m <= count; m++) {
      printf "      \"%s\": {\"seconds\": %s, \"samples\": %s},\n", machines[m],
        JsonSummary(samples[machines[m], name]), JsonSamples(samples[machines[m], name])
    }
    printf "      \"qemu_by_ring3\": %s,\n", JsonSummary(Ratios("qemu", "ring3", name))
    printf "      \"ring3_by_native\": %s\n", JsonSummary(Ratios("ring3", "native", name))
    printf "    }%s\n", i < row_count ? "," : ""
  }
  print "  }\n}"
}
