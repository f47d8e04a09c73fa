#include "ops/tape.h"

#include <algorithm>

#include "ops/exec.h"

namespace tw::ops {

void Tape::clear() {
  values_.clear();
  entries_.clear();
  own_balance_.taken.clear();
  own_balance_.rows = 0;
  own_balance_.complete = false;
}

Tape::Entry& Tape::add(std::initializer_list<Tensor> outputs, std::initializer_list<Tensor> inputs,
                       bool passes) {
  TW_CHECK(outputs.size() <= kMostValues && inputs.size() <= kMostValues, "an op has few values");
  Entry& entry = entries_.emplace_back();
  entry.outputs = static_cast<std::int8_t>(outputs.size());
  entry.inputs = static_cast<std::int8_t>(inputs.size());
  entry.passes = passes;
  const auto id = [](const Tensor& t) { return t.tape_id; };
  std::transform(outputs.begin(), outputs.end(), entry.output.begin(), id);
  std::transform(inputs.begin(), inputs.end(), entry.input.begin(), id);
  return entry;
}

void Tape::take(Value& value) {
  value.live = true;
  const std::size_t bytes = (value.bytes + 63) / 64 * 64;
  auto hole = std::find_if(holes_.begin(), holes_.end(), [&](const Hole& h) { return h.bytes >= bytes; });
  if (hole == holes_.end()) {
    value.offset = planned_;
    planned_ += bytes;
    return;
  }
  value.offset = hole->offset;
  hole->offset += bytes;
  hole->bytes -= bytes;
  if (hole->bytes == 0) holes_.erase(hole);
}

void Tape::give_back(Value& value) {
  value.live = false;
  const Hole freed{value.offset, (value.bytes + 63) / 64 * 64};
  auto next =
      std::find_if(holes_.begin(), holes_.end(), [&](const Hole& h) { return h.offset > freed.offset; });
  next = holes_.insert(next, freed);
  if (next + 1 != holes_.end() && next->offset + next->bytes == (next + 1)->offset) {
    next->bytes += (next + 1)->bytes;
    holes_.erase(next + 1);
  }
  if (next != holes_.begin() && (next - 1)->offset + (next - 1)->bytes == next->offset) {
    (next - 1)->bytes += next->bytes;
    holes_.erase(next);
  }
}

void Tape::plan_entry(Entry& e) {
  const auto live = [&](std::int32_t id) { return id >= 0 && value(id).live; };
  e.used = e.outputs == 0 || std::any_of(e.output.begin(), e.output.begin() + e.outputs, live);
  if (!e.used) return;
  for (int i = 0; i < e.outputs; ++i)
    TW_CHECK(live(e.output[i]), "all outputs of an op that is learnt through have gradients");
  e.adds = 0;
  bool handed_on = false;
  for (int i = 0; i < e.inputs; ++i) {
    if (e.input[i] < 0) continue;
    Value& in = value(e.input[i]);
    if (in.live) {
      e.adds |= static_cast<std::uint8_t>(1U << i);
    } else if (e.passes && i == 0) {
      in.offset = value(e.output[0]).offset;
      in.live = handed_on = true;
    } else {
      take(in);
    }
  }
  for (int i = 0; i < e.outputs; ++i) {
    if (i == 0 && handed_on)
      value(e.output[i]).live = false;
    else
      give_back(value(e.output[i]));
  }
}

void Tape::plan(Value* given) {
  planned_ = 0;
  holes_.clear();
  if (given != nullptr) take(*given);
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) plan_entry(*entry);
}

void Tape::backward(Exec& ex) {
  if (ex.worker() == 0) {
    plan(nullptr);
    own_balance_.complete = true;
  }
  if (!ex.tracing()) ex.barrier();
  const tensor::Arena::Scope scope(ex.arena());
  walk(ex, ex.arena().allocate(planned_));
}

void Tape::backward(Exec& ex, const Tensor& out, const Tensor& d_out, const Tensor& in, const Tensor& d_in) {
  if (ex.worker() == 0) plan(&value(out.tape_id));
  if (!ex.tracing()) ex.barrier();
  const tensor::Arena::Scope scope(ex.arena());
  std::byte* gradients = ex.arena().allocate(planned_);
  const auto copy = [&](const float* from, float* to, std::int64_t count) {
    if (ex.tracing()) return;
    ex.slice(count, 1024,
             [&](std::int64_t begin, std::int64_t end) { std::copy(from + begin, from + end, to + begin); });
    ex.barrier();
  };
  // Where a gradient lay is known from the plan, also after its place was given back.
  copy(d_out.f32(), reinterpret_cast<float*>(gradients + value(out.tape_id).offset), d_out.shape.elements());
  walk(ex, gradients);
  if (in.tape_id < 0) {  // frozen, all before it too; the next part clears the tape that others may yet walk
    if (!ex.tracing()) ex.barrier();
    return;
  }
  TW_CHECK(value(in.tape_id).live, "a block's input has a gradient");
  copy(reinterpret_cast<const float*>(gradients + value(in.tape_id).offset), d_in.f32(),
       d_in.shape.elements());
}

void Tape::walk(Exec& ex, std::byte* gradients) {
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (!entry->used) continue;
    const tensor::Arena::Scope temporaries(ex.arena());
    entry->run(Backward(ex, *this, *entry, gradients), *entry);
  }
}

Tensor Backward::gradient(std::int32_t id) const {
  const Tape::Value& value = tape_.value(id);
  const auto count = static_cast<std::int64_t>(value.bytes / sizeof(float));
  return {DType::kF32, {count}, gradients_ == nullptr ? nullptr : gradients_ + value.offset};
}

}  // namespace tw::ops
